"""From facts to command line: the table of help how-it-works, seen from outside."""

import os
import re
import shutil
from pathlib import Path

import pytest

from shim.install.launcher import install
from shim.store import markers
from tests.support.recorder import World, derived

ROOM = "a room"
U = derived(ROOM)
OTHER = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
THERE = Path("/another/project")
YONDER = Path("/a/third")


@pytest.fixture(autouse=True)
def in_a_room(world: World) -> None:
    world.environment["NSED_ROOM_ID"] = ROOM


def told(world: World, *args: str) -> list[str]:
    """What reaches claude, of a call on which the shim has nothing to say."""
    return [os.fsdecode(arg) for arg in world.call(*args).args]


def shown(path: Path) -> str:
    """A path as a warning has it: without what callers search for, session ids among it.

    429 can be in a time of day.
    """
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|429", "…", str(path))


def kept_aside(transcript: Path) -> Path:
    """Where an unusable transcript was moved to."""
    assert not transcript.exists()
    (aside,) = transcript.parent.iterdir()
    assert re.fullmatch(re.escape(transcript.name) + r"\.unusable-\d{8}T\d{6}Z", aside.name)
    return aside


# Which conversation


@pytest.mark.parametrize(
    ("env", "args", "room", "agent"),
    [
        ({"NSED_ROOM_ID": "r"}, [], "r", "claude"),
        ({"NSED_ROOM_ID": "r", "NSED_AGENT_NAME": "a"}, [], "r", "a"),
        ({"NSED_ROOM_ID": "r", "NSED_AGENT_NAME": "a"}, ["--agent", "b"], "r", "a"),
        ({"NSED_ROOM_ID": "r"}, ["--agent", "b"], "r", "b"),
        ({"NSED_ROOM_ID": "r"}, ["--agent=b"], "r", "b"),
        ({"NSED_ROOM_ID": "r", "NSED_AGENT_NAME": ""}, ["--agent", "b"], "r", "b"),
        ({"NSED_ROOM_ID": "r"}, ["--agent="], "r", "claude"),
        ({"NSED_ROOM_ID": None, "NSED_AGENT_NAME": "a"}, [], "", "a"),
        ({"NSED_ROOM_ID": "", "NSED_AGENT_NAME": "a"}, [], "", "a"),
        ({"NSED_ROOM_ID": None, "NSED_SESSION_ID": "s", "NSED_AGENT_NAME": "a"}, [], "s", "a"),
        ({"NSED_ROOM_ID": "r", "NSED_SESSION_ID": "s"}, [], "r", "claude"),
    ],
)
def test_room_and_agent_decide_the_conversation(
    world: World, env: dict[str, str | None], args: list[str], room: str, agent: str
) -> None:
    call = world.call(*args, env=env)

    assert call.args == [os.fsencode(arg) for arg in ["--session-id", derived(room, agent), *args]]
    assert call.variable("NSED_ROOM_ID") == room.encode()
    assert call.variable("NSED_AGENT_NAME") == agent.encode()
    assert call.variable("NSED_SESSION_ID") == (room.encode() if "NSED_SESSION_ID" in env else None)
    assert world.mappings == {room: {agent: derived(room, agent)}}


def test_a_stored_mapping_wins_over_the_derived_id(world: World) -> None:
    world.map(ROOM, "claude", OTHER)
    world.transcript(U)
    world.transcript(OTHER)

    assert told(world, "-p") == ["--resume", OTHER, "-p"]
    assert world.mappings == {ROOM: {"claude": OTHER}}


def test_a_stored_id_that_is_no_uuid_gives_way_to_the_derived_one(world: World) -> None:
    world.map(ROOM, "claude", "../../etc/passwd")

    run = world.run("-p")

    assert "no UUID" in run.warning
    assert world.claude.calls[0].args[:2] == [b"--session-id", U.encode()]
    assert world.mappings == {ROOM: {"claude": U}}


def test_two_agents_in_one_room_and_one_agent_in_two_rooms_stay_apart(world: World) -> None:
    keys = [("one", "a"), ("one", "b"), ("two", "a")]
    for room, agent in keys:
        world.call(env={"NSED_ROOM_ID": room, "NSED_AGENT_NAME": agent})

    assert world.mappings == {
        "one": {"a": derived("one", "a"), "b": derived("one", "b")},
        "two": {"a": derived("two", "a")},
    }


# Which flags


def test_a_conversation_without_a_transcript_is_started(world: World) -> None:
    assert told(world, "-p", "hi") == ["--session-id", U, "-p", "hi"]


def test_a_mapped_conversation_whose_transcript_is_gone_starts_again_under_its_id(
    world: World,
) -> None:
    world.map(ROOM, "claude", OTHER)
    assert told(world, "-p") == ["--session-id", OTHER, "-p"]


def test_a_transcript_of_this_project_is_resumed_by_id(world: World) -> None:
    world.transcript(U)
    assert told(world, "-p", "hi") == ["--resume", U, "-p", "hi"]


def test_a_transcript_of_another_project_is_resumed_by_path(world: World) -> None:
    path = world.transcript(U, THERE)
    assert told(world, "-p") == ["--resume", str(path), "-p"]


def test_a_working_directory_with_odd_characters_is_known_for_the_same(world: World) -> None:
    world.directory = world.root / "it's_ä work.dir"
    world.directory.mkdir()
    world.transcript(U)
    assert told(world, "-p") == ["--resume", U, "-p"]


def test_a_working_directory_with_a_long_name_is_no_obstacle(world: World) -> None:
    world.directory = world.root / ("d" * 150) / ("e" * 150)
    world.directory.mkdir(parents=True)
    # Claude cuts such a name and appends a hash.
    path = world.transcript(U, Path(str(world.directory)[:200] + "-1a2b3c"))
    assert told(world, "-p") == ["--resume", str(path), "-p"]


def test_transcripts_are_looked_for_in_claudes_own_directory(world: World) -> None:
    world.transcript(U)
    moved = world.root / "config"
    (world.home / ".claude").rename(moved)
    world.environment["CLAUDE_CONFIG_DIR"] = str(moved)
    assert told(world, "-p") == ["--resume", U, "-p"]


def test_of_several_transcripts_this_projects_is_resumed(world: World) -> None:
    world.transcript(U, age=1000)
    world.transcript(U, THERE)
    assert told(world, "-p") == ["--resume", U, "-p"]


@pytest.mark.parametrize(("newer", "older"), [(THERE, YONDER), (YONDER, THERE)])
def test_of_several_in_other_projects_the_last_written_is_resumed(
    world: World, newer: Path, older: Path
) -> None:
    path = world.transcript(U, newer)
    world.transcript(U, older, age=1000)
    assert told(world, "-p") == ["--resume", str(path), "-p"]


def test_a_transcript_without_messages_does_not_hide_one_that_has_some(world: World) -> None:
    empty = [world.transcript(U, messages=False), world.transcript(U, YONDER, messages=False)]
    path = world.transcript(U, THERE, age=1000)

    assert told(world, "-p") == ["--resume", str(path), "-p"]
    assert all(transcript.exists() for transcript in empty)


@pytest.mark.parametrize("project", [None, THERE], ids=["this project", "another project"])
@pytest.mark.parametrize(
    "content",
    [b"", b'{"type":"us', b'{"type":"queue-operation"}\n', b"\0" * 4096],
    ids=["empty", "torn", "no message", "zeros"],
)
def test_an_unusable_transcript_is_moved_aside_and_the_conversation_started(
    world: World, content: bytes, project: Path | None
) -> None:
    path = world.transcript(U, project)
    path.write_bytes(content)

    run = world.run("-p", "hi")

    assert run.exit_code == 0
    assert shown(kept_aside(path)) in run.warning
    assert kept_aside(path).read_bytes() == content
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p", b"hi"]


@pytest.mark.parametrize("kind", ["directory", "dangling link", "fifo"])
def test_what_is_no_file_but_has_a_transcripts_name_is_moved_aside(world: World, kind: str) -> None:
    path = world.transcript(U)
    path.unlink()
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("nowhere")

    run = world.run("-p")

    assert run.warning
    assert os.path.lexists(kept_aside(path))
    assert world.claude.calls[0].args == [b"--session-id", U.encode(), b"-p"]


def test_a_torn_last_line_does_no_harm(world: World) -> None:
    path = world.transcript(U)
    path.write_bytes(path.read_bytes() + b'{"type":"assist' + b"\0" * 4096)
    assert told(world, "-p") == ["--resume", U, "-p"]


# The caller's own --session-id


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--session-id", OTHER, "-p", "hi"], ["--resume", OTHER, "-p", "hi"]),
        (["-p", "--session-id", OTHER, "hi"], ["-p", "--resume", OTHER, "hi"]),
        (["-p", "hi", "--session-id=" + OTHER], ["-p", "hi", "--resume", OTHER]),
        (
            ["--tools", "Bash", "--session-id", OTHER, "hi"],
            ["--tools", "Bash", "--resume", OTHER, "hi"],
        ),
    ],
)
def test_a_named_conversation_that_exists_is_resumed_and_becomes_the_mapping(
    world: World, args: list[str], expected: list[str]
) -> None:
    world.map(ROOM, "claude", U)
    world.transcript(OTHER)

    assert told(world, *args) == expected
    assert world.mappings == {ROOM: {"claude": OTHER}}


def test_a_named_conversation_of_another_project_is_resumed_by_path(world: World) -> None:
    path = world.transcript(OTHER, THERE)
    assert told(world, "-p", "--session-id", OTHER) == ["-p", "--resume", str(path)]


def test_a_named_conversation_that_is_unusable_is_moved_aside_and_started(world: World) -> None:
    path = world.transcript(OTHER, messages=False)

    run = world.run("-p", "--session-id", OTHER, "hi")

    assert shown(kept_aside(path)) in run.warning
    assert world.claude.calls[0].args == [b"-p", b"--session-id", OTHER.encode(), b"hi"]
    assert world.mappings == {ROOM: {"claude": OTHER}}


def test_without_a_room_a_named_conversation_is_left_alone(world: World) -> None:
    world.transcript(OTHER)
    world.environment["NSED_ROOM_ID"] = ""
    assert told(world, "-p", "--session-id", OTHER) == ["-p", "--session-id", OTHER]


# Explaining


@pytest.mark.parametrize("room", [None, "r"])
def test_debug_names_a_misspelt_variable(world: World, room: str | None) -> None:
    names = {"NSED_SHIM_DEBUG": "1", "NSED_ROOM": "z", "NSED_ROOM_ID": room}
    run = world.run("-p", "hi", env=names)
    assert run.exit_code == 0
    hint = "NSED_ROOM is no variable that is read: did you mean NSED_ROOM_ID?"
    assert f"claude-shim: debug: {hint}" in run.lines
    if room is None:
        assert world.claude.calls[-1].args == [b"-p", b"hi"]


def test_debug_says_why_and_changes_nothing(world: World) -> None:
    world.transcript(U)

    run = world.run("-p", env={"NSED_SHIM_DEBUG": "1"})

    assert all(line.startswith("claude-shim: debug: ") for line in run.lines)
    assert any(ROOM in line for line in run.lines)
    assert any(U in line for line in run.lines)
    assert any(str(world.claude.path) in line for line in run.lines)
    assert run.stdout == b""
    assert world.claude.calls[0].args == [b"--resume", U.encode(), b"-p"]


# Forks that version 0.2.0 made, and that became the head


def test_an_old_empty_fork_resolves_to_its_parent(world: World) -> None:
    world.map(ROOM, "claude", OTHER)
    world.transcript(U)
    markers.write(str(world.store.parent), markers.FORKS, OTHER, U)

    assert told(world, "-p") == ["--resume", U, "-p"]
    assert world.mappings == {ROOM: {"claude": U}}


def test_an_old_fork_with_a_turn_is_resumed(world: World) -> None:
    world.map(ROOM, "claude", OTHER)
    world.transcript(U)
    world.transcript(OTHER)
    markers.write(str(world.store.parent), markers.FORKS, OTHER, U)

    assert told(world, "-p") == ["--resume", OTHER, "-p"]


def test_a_new_conversation_that_is_no_fork_starts(world: World) -> None:
    world.map(ROOM, "claude", OTHER)
    world.transcript(U)

    assert told(world, "-p") == ["--session-id", OTHER, "-p"]


# What can move to another conversation


@pytest.mark.parametrize(
    "args", [["--input-format", "stream-json"], ["--input-format=stream-json"]]
)
def test_a_streaming_claude_gets_the_plugin_that_says_where_it_moves(
    world: World, args: list[str]
) -> None:
    world.transcript(U)
    option, link, *rest = told(world, *args)
    assert [option, *rest] == ["--plugin-dir", "--resume", U, *args]
    assert Path(link).resolve() == world.launcher.parent / ".claude-shim-plugin" / "following"
    assert Path(link).parents[2] == world.store.parent


def test_a_stream_that_shows_hooks_gets_those_that_do_not_show(world: World) -> None:
    world.transcript(U)
    args = ("--input-format", "stream-json", "--include-hook-events")
    assert Path(told(world, *args)[1]).resolve().name == "ending"


def test_each_room_has_a_path_of_its_own_to_the_plugin(world: World) -> None:
    def plugin(room: str) -> bytes:
        call = world.call("--input-format", "stream-json", env={"NSED_ROOM_ID": room})
        return call.args[call.args.index(b"--plugin-dir") + 1]

    assert plugin("one") != plugin("two")
    assert plugin("one") == plugin("one")


def test_without_the_plugin_a_streaming_claude_runs_all_the_same(
    world: World, tmp_path: Path
) -> None:
    world.transcript(U)
    launcher = install(tmp_path / "bin")
    shutil.rmtree(launcher.with_name(".claude-shim-plugin"))
    call = world.call("--input-format", "stream-json", program=launcher)
    assert call.args == [b"--resume", U.encode(), b"--input-format", b"stream-json"]
