"""Under OpenCode without our plugin: what its command line says about the conversation."""

import sys
import tempfile
from pathlib import Path

import pytest

from shim.install.launcher import install
from tests.support.recorder import World, write_program

# Without its pid, as without a /proc, OpenCode is looked for among the ancestors.
pid_or_none = pytest.mark.parametrize("says_its_pid", [True, False], ids=["pid", "no pid"])


@pid_or_none
@pytest.mark.parametrize(
    ("arguments", "room", "agent"),
    [
        ("run -s ses_1 --agent plan", b"oc-ses_1", b"plan"),
        ("--session=ses_1", b"oc-ses_1", b"claude"),
    ],
)
def test_under_opencode_without_the_plugin_its_command_line_names_the_room_and_agent(
    world: World, arguments: str, room: bytes, agent: bytes, says_its_pid: bool
) -> None:
    opencode = _opencode(world, f"{world.launcher} -p hi", says_its_pid)
    world.run(*arguments.split(), program=opencode)

    [call] = world.claude.calls
    assert call.args[:1] == [b"--session-id"]
    assert (call.variable("NSED_ROOM_ID"), call.variable("NSED_AGENT_NAME")) == (room, agent)


def test_opencode_2_names_its_session_in_a_variable(world: World) -> None:
    world.environment |= {"OPENCODE": "1", "OPENCODE_SESSION_ID": "ses_2"}
    world.run("-p", "hi")

    [call] = world.claude.calls
    assert call.args[:1] == [b"--session-id"]
    assert (call.variable("NSED_ROOM_ID"), call.variable("NSED_AGENT_NAME")) == (
        b"oc-ses_2",
        b"claude",
    )


@pid_or_none
def test_under_an_opencode_that_names_no_session_claude_is_left_alone(
    world: World, says_its_pid: bool
) -> None:
    world.run("run", "hi", program=_opencode(world, f"{world.launcher} -p hi", says_its_pid))
    _assert_left_alone(world)


@pid_or_none
def test_an_opencode_inside_one_that_names_a_session_is_not_in_that_session(
    world: World, says_its_pid: bool
) -> None:
    inner = _opencode(world, f"{world.launcher} -p hi", says_its_pid)
    outer = _opencode(world, f"{inner} run hi", says_its_pid)

    world.run("-s", "ses_1", program=outer)

    _assert_left_alone(world)


def test_no_ancestors_are_looked_at_where_opencode_names_no_session(world: World) -> None:
    launcher = install(world.root / "bin")
    launcher.with_name(".claude-shim-modules").unlink()  # what it has is not looked for
    program = launcher.with_name(".claude-shim-program.py")
    handed = f"{world.launcher} '' '' {world.claude.path} claude -p hi"
    python = f"{sys.executable} -X importtime -IS -Xutf8 {program} {handed}"

    run = world.run("run", "hi", program=_opencode(world, python))

    imported = {line.rpartition("|")[2].strip() for line in run.lines}
    assert "shim.call.identity" in imported
    assert not imported & {"shim.opencode.command_line", "psutil"}
    _assert_left_alone(world)


def _opencode(world: World, command: str, says_its_pid: bool = True) -> Path:
    """A program named opencode that runs a command in a shell."""
    opencode = Path(tempfile.mkdtemp(dir=world.root), "opencode")
    export = "export OPENCODE=1" + (" OPENCODE_PID=$$" if says_its_pid else "")
    write_program(opencode, f'#!/bin/sh\n{export}\n/bin/sh -c "{command}; :"; :\n')
    return opencode


def _assert_left_alone(world: World) -> None:
    [call] = world.claude.calls
    assert call.args == [b"-p", b"hi"]
    assert call.variable("NSED_ROOM_ID") is None
    assert not world.store.exists()
