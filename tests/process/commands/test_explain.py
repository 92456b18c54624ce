"""`claude-shim explain`: it says what the wrapper then does, and changes nothing."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shim.install.launcher import install
from shim.retention import pins
from tests.support.claude_shim import ask
from tests.support.recorder import Run, World, derived
from tests.support.rooms import live

ROOM = "a room"
U = derived(ROOM)
OTHER = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
THERE = Path("/another/project")
ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
STREAMING = ["--input-format", "stream-json"]


@pytest.fixture(autouse=True)
def in_a_room(world: World) -> None:
    world.environment["NSED_ROOM_ID"] = ROOM
    world.environment["LC_ALL"] = "C.UTF-8"


def explain(world: World, *args: str) -> Run:
    return ask(world, "explain", *args)


def test_a_misspelt_variable_is_named(world: World) -> None:
    world.environment["NSED_AGENT"] = "bot"
    said = "NSED_AGENT is no variable that is read: did you mean NSED_AGENT_NAME?"
    assert f"! {said}" in explain(world, "-p").stdout.decode().splitlines()
    steps = json.loads(explain(world, "--json", "--", "-p").stdout)["steps"]
    assert {"message": said, "is_warning": True} in steps


@pytest.fixture
def one_shot_holder(world: World) -> Iterator[None]:
    with live(world, ROOM, is_long_running=False):
        yield


@pytest.fixture
def streaming_holder(world: World) -> Iterator[None]:
    with live(world, ROOM):
        yield


def nothing(_: World) -> None:
    """A home without a past."""


def here(world: World) -> None:
    world.transcript(U)


def elsewhere(world: World) -> None:
    world.transcript(U, THERE)


def here_and_elsewhere(world: World) -> None:
    here(world)
    elsewhere(world)


def unusable(world: World) -> None:
    world.transcript(U, messages=False)


def mapped(world: World) -> None:
    world.map(ROOM, "claude", OTHER)
    world.transcript(OTHER)


def mapped_without_transcript(world: World) -> None:
    world.map(ROOM, "claude", OTHER)


def damaged(world: World) -> None:
    mapped(world)
    text = world.store.read_text()
    world.store.write_text(text[:-1])


def lost(world: World) -> None:
    mapped(world)
    world.store.rename(world.store.with_name("sessions.json.bak"))


def not_a_uuid(world: World) -> None:
    world.map(ROOM, "claude", "no uuid")


def cleaned_up(world: World) -> None:
    kept_and_gone(world, idle=400)


def deleted(world: World) -> None:
    kept_and_gone(world, idle=1)


def kept_and_gone(world: World, idle: float) -> None:
    kept = world.store.parent / "kept" / f"{U}.jsonl"
    kept.parent.mkdir(parents=True)
    world.transcript(U, age=idle * 86400).rename(kept)
    kept.with_suffix(".link").symlink_to(pins.identity(str(kept)))


def replaced(world: World) -> None:
    """What is kept is good, and the transcript is not."""
    deleted(world)
    unusable(world)


def fifo(world: World) -> None:
    world.store.parent.mkdir(mode=0o700)
    os.mkfifo(world.store)


def variable(name: str, value: str) -> Callable[[World], None]:
    def put(world: World) -> None:
        here(world)
        world.environment[name] = value

    return put


# Each row of the tables of help how-it-works: from facts to command line, and what is left alone.
ROWS = [
    (nothing, ["-p", "hi"]),
    (here, ["-p", "hi"]),
    (elsewhere, ["-p", "hi"]),
    (here_and_elsewhere, ["-p", "hi"]),
    (unusable, ["-p", "hi"]),
    (mapped, ["-p", "hi"]),
    (mapped_without_transcript, ["-p", "hi"]),
    (damaged, ["-p", "hi"]),
    (lost, ["-p", "hi"]),
    (not_a_uuid, ["-p", "hi"]),
    (cleaned_up, ["-p", "hi"]),
    (deleted, ["-p", "hi"]),
    (replaced, ["-p", "hi"]),
    (fifo, ["-p", "hi"]),
    (cleaned_up, ["--session-id", U, "-p", "hi"]),
    (deleted, ["--session-id", U, "-p", "hi"]),
    (here, STREAMING),
    (nothing, STREAMING),
    (nothing, ["--session-id", OTHER]),
    (mapped, ["--session-id", U, "-p", "hi"]),
    (here, ["--model", "x", "--session-id", U, "--", "hi"]),
    (here, ["--session-id", "no uuid"]),
    (here, ["--continue"]),
    (here, ["-r", OTHER]),
    (here, ["--no-session-persistence", "-p", "hi"]),
    (here, ["--bg"]),
    (here, ["mcp", "list"]),
    (here, ["--help"]),
    (here, ["--agent", "reviewer", "-p", "hi"]),
    (variable("NSED_AGENT_NAME", "reviewer"), ["-p", "hi"]),
    (variable("NSED_ROOM_ID", ""), ["-p", "hi"]),
    (variable("NSED_SHIM_DISABLE", "1"), ["-p", "hi"]),
]


@pytest.mark.parametrize(
    ("arrange", "args"), ROWS, ids=[f"{arrange.__name__}: {' '.join(a)}" for arrange, a in ROWS]
)
def test_it_says_what_the_wrapper_then_does_and_changes_nothing(
    world: World, arrange: Callable[[World], None], args: list[str]
) -> None:
    arrange(world)
    _agree(world, args)


@pytest.mark.usefixtures("streaming_holder")
@pytest.mark.parametrize("arrange", [nothing, here, elsewhere, mapped])
def test_beside_a_streaming_holder_both_fork(
    world: World, arrange: Callable[[World], None]
) -> None:
    arrange(world)
    world.environment["NSED_BUSY_TIMEOUT"] = "0.2"  # it says nothing of its turns
    args = _agree(world, ["-p", "hi"])
    assert ("--resume" in args) == (arrange is not nothing)
    assert U not in args
    assert OTHER not in args


@pytest.mark.usefixtures("one_shot_holder")
@pytest.mark.parametrize(("policy", "timeout"), [("fork", "600"), ("", "0")])
def test_beside_a_one_shot_holder_that_is_not_waited_for_both_fork(
    world: World, policy: str, timeout: str
) -> None:
    here(world)
    world.environment |= {"NSED_ON_BUSY": policy, "NSED_BUSY_TIMEOUT": timeout}
    assert "--resume" in _agree(world, ["-p", "hi"])


@pytest.mark.usefixtures("one_shot_holder")
def test_a_wait_is_reported_and_not_waited_for(world: World) -> None:
    here(world)
    said = explain(world, "-p", "hi")
    assert b"it would wait until that claude ends" in said.stdout
    assert f"--resume {U} -p hi".encode() in said.stdout


@pytest.mark.usefixtures("one_shot_holder")
def test_a_call_that_would_fail_for_a_busy_conversation_is_reported_with_its_exit_code(
    world: World,
) -> None:
    here(world)
    world.environment["NSED_ON_BUSY"] = "fail"
    said = explain(world, "--json", "-p", "hi")
    explained = json.loads(said.stdout)
    assert (explained["claude"], explained["exit_code"]) == (None, 75)
    assert world.run("-p", "hi").exit_code == 75


def test_without_a_claude_it_says_so_as_the_wrapper_does(world: World) -> None:
    world.claude.path.unlink()
    explained = json.loads(explain(world, "--json", "-p", "hi").stdout)
    assert explained["exit_code"] == world.run("-p", "hi").exit_code == 127
    assert "no claude on PATH" in explained["steps"][-1]["message"]


def test_a_person_reads_each_step_and_a_line_to_copy(world: World) -> None:
    here(world)
    said = explain(world, "--", "-p", "say hi").stdout.decode()
    assert said == (
        f"  the launcher is {world.launcher}\n"
        f"  the real claude is {world.claude.path}\n"
        "  the options of this claude are not discovered yet: using the built-in table\n"
        f"  room '{ROOM}', agent 'claude': room from NSED_ROOM_ID; default agent\n"
        "  a one-shot run\n"
        "  no locks are held: this is the first call here\n"
        f"  conversation {U} (derived): {world.transcript(U)}\n"
        f"  room '{ROOM}', agent 'claude' would be mapped to {U}\n"
        "claude would become:\n"
        f"  {world.claude.path} --resume {U} -p 'say hi'\n"
    )


def test_without_any_claude_on_path_there_is_no_launcher_either(world: World) -> None:
    world.path(world.root)
    assert explain(world, "-p").stdout.startswith(
        b"! there is no claude on PATH, and no launcher: see `install`\n"
    )


def test_a_launcher_that_is_not_on_path_is_no_missing_one(world: World) -> None:
    launcher = install(world.home / ".nsed" / "bin")
    world.path("/usr/bin", "/bin")
    where = f"! the launcher in {launcher.parent} is not on PATH, there is no claude: see"
    assert explain(world, "-p").stdout.decode().startswith(f"{where} `claude-shim init --help`")


def test_a_launcher_that_is_not_first_on_path_is_reported(world: World) -> None:
    world.path(world.claude.path.parent, world.launcher.parent)
    assert explain(world, "-p").stdout.startswith(b"! the launcher is not first on PATH")


def _agree(world: World, args: list[str]) -> list[str]:
    """Explain a call and make it; the arguments that both come to."""
    before = _tree(world.home)
    explained: dict[str, Any] = json.loads(explain(world, "--json", "--", *args).stdout)
    assert _tree(world.home) == before

    world.run(*args)
    (call,) = world.claude.calls
    printed = _without_new_ids(explained["args"])
    assert printed == _without_new_ids([os.fsdecode(arg) for arg in call.args])
    assert explained["claude"] == str(world.claude.path)
    for name, value in explained["environment"].items():
        assert call.variable(name) == value.encode()
    return printed


def _without_new_ids(args: list[str]) -> list[str]:
    """The arguments, of which the id of a fork is another each time."""
    return [ID.sub(lambda it: it[0] if it[0] in (U, OTHER) else "a new id", arg) for arg in args]


def _tree(directory: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file with its mode, its time of change and its content."""
    files = {}
    for path in directory.rglob("*"):
        status = path.lstat()
        content = path.read_bytes() if path.is_file() else b""
        files[str(path)] = (status.st_mode, status.st_mtime_ns, content)
    return files
