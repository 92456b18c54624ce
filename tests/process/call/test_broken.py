"""A broken shim never breaks claude: one warning, and claude runs."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.recorder import World, derived

ROOM = "a room"
U = derived(ROOM)
# What callers look for in claude's own errors.
CLAUDES_WORDS = ["session id", "already in use", "not found", "invalid", "no conversation"]


@pytest.fixture(autouse=True)
def in_a_room_whose_claude_exits_42(world: World) -> None:
    world.environment["NSED_ROOM_ID"] = ROOM
    world.claude.then("exit 42")


def warned(world: World, *args: str, **how: object) -> str:
    """Run; the one warning, that says nothing claude would."""
    run = world.run(*args, **how)
    assert (run.exit_code, run.stdout) == (42, b"")
    assert not [words for words in CLAUDES_WORDS if words in run.warning.lower()]
    return run.warning


def directory_in_the_stores_place(world: World) -> None:
    world.store.mkdir(parents=True)


def fifo_in_the_stores_place(world: World) -> None:
    world.store.parent.mkdir()
    os.mkfifo(world.store)


def device_in_the_stores_place(world: World) -> None:
    world.store.parent.mkdir()
    world.store.symlink_to("/dev/null")


def links_that_go_round(world: World) -> None:
    world.store.parent.mkdir()
    world.store.symlink_to(world.store)


def file_in_the_directorys_place(world: World) -> None:
    world.store.parent.write_text("")


def store_under_a_file(world: World) -> None:
    world.environment["NSED_SESSION_DIR"] = str(world.claude.path / "store")


def store_where_nothing_can_be_made(world: World) -> None:
    world.environment["NSED_SESSION_DIR"] = "/proc/self/store"


def store_with_an_endless_name(world: World) -> None:
    world.environment["NSED_SESSION_DIR"] = "/tmp/" + "x" * 300


STORES = [
    directory_in_the_stores_place,
    fifo_in_the_stores_place,
    device_in_the_stores_place,
    links_that_go_round,
    file_in_the_directorys_place,
    store_under_a_file,
    store_where_nothing_can_be_made,
    store_with_an_endless_name,
]


@pytest.mark.parametrize("sabotage", STORES, ids=lambda sabotage: sabotage.__name__)
def test_without_a_store_the_derived_conversation_is_continued(
    world: World, sabotage: Callable[[World], None]
) -> None:
    sabotage(world)
    world.transcript(U)

    warning = warned(world, "-p", "hi")

    assert "not recorded" in warning
    assert world.claude.calls[0].args == [b"--resume", U.encode(), b"-p", b"hi"]
    assert world.claude.calls[0].variable("NSED_AGENT_NAME") == b"claude"


def test_on_a_full_disk_the_derived_conversation_is_started(world: World) -> None:
    def fill() -> None:
        # The caller's limit is like a full disk to whoever writes a file.
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    warning = warned(world, "-p", before_exec=fill)

    assert str(world.store) in warning
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p"]


def test_on_a_full_disk_the_mapping_is_found_and_nothing_is_lost(world: World) -> None:
    other = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
    world.map(ROOM, "claude", other)
    world.claude.then("")

    def fill() -> None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    call = world.call("-p", before_exec=fill)

    assert call.args == [b"--session-id", other.encode(), b"-p"]
    assert world.mappings == {ROOM: {"claude": other}}


@pytest.mark.parametrize(
    "content", [b"not JSON", b'{"a room": {"claude": {"uuid": "', b"[]", b"\xff\xfe", b"{}{}"]
)
def test_a_corrupt_store_is_moved_aside_and_the_call_runs(world: World, content: bytes) -> None:
    world.store.parent.mkdir()
    world.store.write_bytes(content)

    warning = warned(world, "-p")

    (aside,) = world.store.parent.glob("sessions.json.corrupt-*")
    assert str(aside) in warning
    assert aside.read_bytes() == content
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p"]
    assert world.mappings == {ROOM: {"claude": U}}


def test_an_empty_store_is_a_new_one(world: World) -> None:
    world.store.parent.mkdir()
    world.store.write_bytes(b"")
    run = world.run("-p")
    assert (run.exit_code, run.stderr) == (42, b"")
    assert world.mappings == {ROOM: {"claude": U}}


def unreadable_transcript(world: World) -> None:
    path = world.transcript(U)
    path.unlink()
    path.symlink_to(path)


def endless_config_directory(world: World) -> None:
    world.environment["CLAUDE_CONFIG_DIR"] = "/" + "x" * 300


def projects_that_go_round(world: World) -> None:
    projects = world.home / ".claude" / "projects"
    projects.parent.mkdir()
    projects.symlink_to(projects)


@pytest.mark.parametrize(
    "sabotage",
    [unreadable_transcript, endless_config_directory, projects_that_go_round],
    ids=lambda sabotage: sabotage.__name__,
)
def test_where_transcripts_cannot_be_read_claude_runs_as_asked(
    world: World, sabotage: Callable[[World], None]
) -> None:
    sabotage(world)

    assert "without session management" in warned(world, "-p", "hi")
    assert world.claude.calls[0].args == [b"-p", b"hi"]
    assert world.claude.calls[0].variable("NSED_AGENT_NAME") is None


@pytest.mark.parametrize("project", ["file", "dangling link", "odd name"])
def test_odd_things_among_the_projects_are_passed_over(world: World, project: str) -> None:
    path = world.transcript(U, Path("/another/project"))
    projects = path.parent.parent
    if project == "file":
        (projects / "aaa").write_text("")
    elif project == "dangling link":
        (projects / "aaa").symlink_to("nowhere")
    else:
        os.mkdir(os.fsencode(projects) + b"/aaa\xff\n")

    run = world.run("-p")

    assert run.stderr == b""
    assert world.claude.calls[0].args == [b"--resume", os.fsencode(path), b"-p"]


def test_where_transcripts_cannot_be_written_one_line_says_so(world: World) -> None:
    (world.home / ".claude").mkdir()
    projects = world.home / ".claude" / "projects"
    projects.write_text("")

    said = f"claude cannot write its transcript ({projects}): this turn will not be kept"
    assert warned(world, "-p").endswith(said)
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p"]


def test_a_working_directory_that_is_gone_is_no_obstacle(world: World) -> None:
    path = world.transcript(U)
    gone = world.root / "gone"
    gone.mkdir()

    def leave() -> None:
        os.chdir(gone)
        os.rmdir(gone)

    run = world.run("-p", before_exec=leave)

    # Even the shell that records has something to say about that.
    assert not [line for line in run.lines if line.startswith("claude-shim")]
    assert world.claude.calls[0].args == [b"--resume", os.fsencode(path), b"-p"]


def _closed() -> None:
    os.close(2)


def _full() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def _nobody_listens() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 2)


@pytest.mark.parametrize("stderr", [_closed, _full, _nobody_listens])
def test_a_warning_that_cannot_be_written_is_no_obstacle(
    world: World, stderr: Callable[[], None]
) -> None:
    directory_in_the_stores_place(world)

    run = world.run("-p", before_exec=stderr)

    assert (run.exit_code, run.stdout, run.stderr) == (42, b"", b"")
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p"]


def test_a_bug_in_the_shim_is_one_warning(world: World) -> None:
    # PATH_MAX is longer than any file name: whatever raises, raises in the wrapper's own try.
    world.environment["NSED_SESSION_DIR"] = "/tmp/" + "x/" * 3000
    assert warned(world, "-p")
    assert world.claude.calls[0].args[-1] == b"-p"


@pytest.mark.parametrize("variable", ["HOME", "PATH"])
def test_a_missing_variable_is_no_obstacle(world: World, variable: str) -> None:
    # Without HOME both would be in the home of the password database: of whoever runs the tests.
    places = {"NSED_SESSION_DIR": world.store.parent, "CLAUDE_CONFIG_DIR": world.home / ".claude"}
    env = {variable: None, "NSED_CLAUDE_BIN": str(world.claude.path), "TMPDIR": str(world.root)}
    run = world.run("-p", env={**env, **{name: str(path) for name, path in places.items()}})
    assert run.exit_code == 42
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p"]


def test_warnings_are_one_line_whatever_the_names(world: World) -> None:
    world.environment["NSED_SESSION_DIR"] = str(world.claude.path / "a\nb\rc\x85d\u2028e")
    assert warned(world, "-p")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"<!DOCTYPE html>\n", b"\x7fELF\x02\x01\x01", b"404: Not Found", b"a\0b"],
)
def test_a_claude_that_is_no_program_and_no_script_is_exit_126(
    world: World, content: bytes
) -> None:
    world.claude.path.write_bytes(content)

    run = world.run("-p", "hi")

    assert (run.exit_code, run.stdout) == (126, b"")
    assert run.lines[-1] == f"claude-shim: {world.claude.path} cannot be run: Exec format error"


@pytest.mark.parametrize("start", ["\n# a wrapper\n", "IFS=' '\n", "/bin/echo -n; ", '"true"\n'])
def test_a_claude_that_begins_like_a_script_is_run_by_a_shell(world: World, start: str) -> None:
    world.claude.path.write_text(f'{start}printf "%s " "$@"')
    run = world.run("-p", "hi")
    assert (run.exit_code, run.stdout.decode()) == (0, f"--session-id {U} -p hi ")
