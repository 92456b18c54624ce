"""What a room's claude starts inherits its names, and may outlive it: only explicit names count."""

import shlex
import sys
from pathlib import Path

import pytest

from tests.support.recorder import Call, Text, World, derived, wait_until, write_program

ROOM = "r"
LATE = "claude-shim: room 'r' is inherited from a claude that has ended, and not used; to use it,"
LATE += " run `claude-shim open r`, or unset NSED_SHIM_ROOM\n"
DETACHED = LATE.replace("has ended", "did not start this command")


class Inside:
    """A claude of the room that runs one command, as its Bash tool or a hook of it would.

    Where the command is `detached`, it goes on by itself when it has lost its ancestors: before
    that claude ends, or after.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.errors = world.root / "errors"
        self._done = world.root / "done"

    def run(self, command: str, when: str = "inside", **env: Text) -> Call:
        """The call that the command makes; what it writes to stderr is in `errors`."""
        path = shlex.quote(f"{self.world.environment['PATH']}:/usr/bin:/bin")
        done = shlex.quote(str(self._done))
        inner = f"PATH={path} NESTED=1 {command} </dev/null >/dev/null 2>{self.errors}; : >{done}"
        way = {
            "inside": inner,
            "detached before its end": (
                f"sh -c '(tail --pid=$$ -s 0.02 -f /dev/null; {inner}) >/dev/null 2>&1 &';"
                f" until [ -e {done} ]; do sleep 0.02; done"
            ),
            "detached after its end": (
                f"(tail --pid=$$ -s 0.02 -f /dev/null; {inner}) >/dev/null 2>&1 &"
            ),
        }[when]
        self.world.claude.then(f'[ -n "$NESTED" ] && exit\n{way}')
        before = len(self.world.claude.calls)
        run = self.world.run("-p", "outer", env={"NSED_ROOM_ID": ROOM, **env})
        assert (run.exit_code, run.stderr) == (0, b"")
        wait_until(self._done.exists)
        self._done.unlink()
        (_, call) = self.world.claude.calls[before:]
        return call


@pytest.fixture
def inside(world: World) -> Inside:
    return Inside(world)


def key_of(call: Call) -> tuple[bytes | None, bytes | None]:
    """The room and agent that the wrapper gave a call; none to one that was left alone."""
    assert call.args[0] in (b"--session-id", b"--resume"), call.args
    return call.variable("NSED_ROOM_ID"), call.variable("NSED_AGENT_NAME")


when = pytest.mark.parametrize(
    ("when", "says"),
    [("inside", ""), ("detached before its end", DETACHED), ("detached after its end", LATE)],
)
anywhere = pytest.mark.parametrize(
    "when", ["inside", "detached before its end", "detached after its end"]
)
detached = pytest.mark.parametrize("when", ["detached before its end", "detached after its end"])


@when
@pytest.mark.parametrize("env", [{}, {"NSED_AGENT_NAME": "a"}, {"NSED_SESSION_ID": "also"}])
def test_a_call_that_inherits_its_room_is_left_alone(
    inside: Inside, when: str, says: str, env: dict[str, Text]
) -> None:
    call = inside.run(f"{inside.world.launcher} -p late", when, **env)

    assert call.args == [b"-p", b"late"]
    agent = str(env.get("NSED_AGENT_NAME", "claude"))
    assert inside.world.mappings == {ROOM: {agent: derived(ROOM, agent)}}
    assert inside.errors.read_text() == says


@pytest.mark.parametrize("named", ["NSED_AGENT_NAME=b {} -p late", "{} --agent b -p late"])
def test_an_agent_that_is_named_inside_is_one_of_the_room(inside: Inside, named: str) -> None:
    call = inside.run(named.format(inside.world.launcher))

    assert key_of(call) == (b"r", b"b")
    assert inside.errors.read_text() == ""


@detached
@pytest.mark.parametrize("named", ["NSED_AGENT_NAME=b {} -p late", "{} --agent b -p late"])
def test_an_agent_that_is_named_outside_is_not(inside: Inside, when: str, named: str) -> None:
    call = inside.run(named.format(inside.world.launcher), when)

    assert b"--session-id" not in call.args
    assert inside.world.mappings == {ROOM: {"claude": derived(ROOM)}}
    assert "is inherited from a claude" in inside.errors.read_text()


@anywhere
def test_a_room_that_is_named_counts_anywhere(inside: Inside, when: str) -> None:
    command = f"NSED_ROOM_ID=other {inside.world.launcher} -p late"
    call = inside.run(command, when, NSED_AGENT_NAME="a")

    assert key_of(call) == (b"other", b"claude")
    assert inside.errors.read_text() == ""


def test_without_the_room_around_it_the_names_are_meant(inside: Inside) -> None:
    inside.world.transcript(derived(ROOM, "a"))
    command = f"env -u NSED_SHIM_ROOM {inside.world.launcher} -p late"
    call = inside.run(command, "detached after its end", NSED_AGENT_NAME="a")

    assert call.args[:2] == [b"--resume", derived(ROOM, "a").encode()]
    assert inside.errors.read_text() == ""


@detached
def test_open_means_the_room_anywhere(inside: Inside, when: str) -> None:
    inside.world.transcript(derived(ROOM))
    program = f"{sys.executable} -m shim.commands"
    marks = "CLAUDE_CODE_CHILD_SESSION=1"
    command = f"env PYTHONPATH={Path.cwd()} {marks} NSED_ON_BUSY=fork {program} open r -- -p late"
    call = inside.run(command, when)

    assert call.variable("NSED_ROOM_ID") == ROOM.encode()
    assert b"--resume" in call.args
    assert call.variable("CLAUDE_CODE_CHILD_SESSION") is None


def test_a_subcommand_of_what_has_outlived_its_claude_says_nothing(inside: Inside) -> None:
    call = inside.run(f"{inside.world.launcher} --version", "detached after its end")

    assert call.args == [b"--version"]
    assert inside.errors.read_text() == ""


@anywhere
def test_nseds_worker_has_the_room_that_it_names(inside: Inside, when: str) -> None:
    worker = "NSED_SESSION_ID=job NSED_AGENT_NAME=claude"
    call = inside.run(f"{worker} {inside.world.launcher} -p late", when)

    assert key_of(call) == (b"job", b"claude")
    assert inside.errors.read_text() == ""


@pytest.mark.parametrize("named", ["--agent b", ""])
def test_of_a_claude_inside_a_claude_the_inner_one_counts(inside: Inside, named: str) -> None:
    launcher = inside.world.launcher
    innermost = f"env -u NSED_CLAUDE_BIN {launcher} {named} -p innermost"
    learning = '[ "$NSED_SHIM_DISABLE$*" = 1--help ] && exit 1'
    claude = write_program(
        inside.world.root / "inner" / "claude", f"#!/bin/sh\n{learning}\n{innermost}\n"
    )
    call = inside.run(f"NSED_ROOM_ID=inner NSED_CLAUDE_BIN={claude} {launcher} -p middle")

    if named:
        assert key_of(call) == (b"inner", b"b")
    else:
        assert call.args == [b"-p", b"innermost"]
    assert inside.errors.read_text() == ""


@pytest.fixture
def opencode(world: World) -> Path:
    """An OpenCode that is called as `opencode -s SESSION PROMPT`."""
    around = f'OPENCODE=1 OPENCODE_PID=$$ {world.launcher} -p "$3"; :'
    return write_program(world.root / "opencode", f"#!/bin/sh\n{around}\n")


def test_an_opencode_inside_names_the_room_of_what_it_starts(
    inside: Inside, opencode: Path
) -> None:
    call = inside.run(f"{opencode} -s ses_1 late")
    assert key_of(call) == (b"oc-ses_1", b"claude")


def test_an_opencode_around_the_claude_does_not(world: World, opencode: Path) -> None:
    path = f"{world.environment['PATH']}:/usr/bin"
    inner = f"NESTED=1 {world.launcher} -p late"
    world.claude.then(f'[ -n "$NESTED" ] || PATH={path} {inner}')

    world.run("-s", "ses_1", "outer", program=opencode, env={"NSED_ROOM_ID": ROOM})

    (_, call) = world.claude.calls
    assert call.args == [b"-p", b"late"]
