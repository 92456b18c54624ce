"""`claude-shim delete`, and what `forget` and `uninstall` say of what can be restored."""

import gzip
import json
import uuid
from pathlib import Path

import pytest

from shim.forks import fork_marker
from shim.retention import housekeeping, pins
from shim.store import markers
from shim.store.store import Store
from tests.support.claude_shim import ask, exit_code, printed, refused, terminal
from tests.support.real_claude import STREAM_JSON
from tests.support.recorder import World, derived
from tests.support.rooms import U, V, W, entry, files, history, live, register, store, transcript


def everything(world: World, session_id: str) -> list[Path]:
    """Whatever in the home has the conversation's id in its name or text."""
    return [
        path
        for path in world.home.rglob("*")
        if session_id in path.name or (path.is_file() and session_id in path.read_text())
    ]


def with_all(world: World, session_id: str) -> None:
    """A conversation with all that can be of it."""
    path = transcript(world, session_id)
    beside = path.with_suffix("") / "tool-results" / "1.txt"
    beside.parent.mkdir(parents=True)
    beside.write_text("x" * 5000)
    edited = world.home / ".claude" / "file-history" / session_id / "a@v1"
    edited.parent.mkdir(parents=True)
    edited.write_text("old")
    kept = world.store.parent / "kept" / path.name
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.hardlink_to(path)
    kept.with_suffix(".from").symlink_to(path)

    markers.write(str(world.store.parent), markers.FORKS, session_id, V)


def earlier(world: World, room: str, agent: str, session_id: str) -> None:
    line = {"room": room, "agent": agent, **entry(session_id)}
    with (world.store.parent / "history.jsonl").open("a") as lines:
        lines.write(json.dumps(line) + "\n")


def test_nothing_is_left_of_a_conversation(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}, "other": {"claude": entry(V)}})
    with_all(world, U)
    transcript(world, V)

    said = printed(world, "delete", "r", "claude", "--yes")

    assert said == "Deleted 1 conversation, 5.1 kB.\n"
    assert not everything(world, U)
    assert world.mappings == {"other": {"claude": V}}
    call = world.call("-p", env={"NSED_ROOM_ID": "r"})
    assert call.args[:2] == [b"--session-id", derived("r").encode()]


def test_nothing_says_that_there_was_the_room(world: World) -> None:
    room = "a room of its own"
    store(world, {room: {"claude": entry(U)}})
    transcript(world, U)
    world.call("-p", *STREAM_JSON, env={"NSED_ROOM_ID": room})
    assert named(world, room)

    printed(world, "delete", room, "--yes")

    assert named(world, room) == []


def named(world: World, room: str) -> list[Path]:
    """The files beside the store that have the name of a room."""
    files = [path for path in world.store.parent.rglob("*") if path.is_file()]
    return [path for path in files if room.encode() in path.read_bytes()]


def test_what_its_name_derives_does_not_come_back(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    transcript(world, U)
    transcript(world, derived("r"))
    printed(world, "delete", "r", "--yes")
    assert not everything(world, derived("r"))


def test_earlier_conversations_go_too_or_alone(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    for session_id in (U, V):
        transcript(world, session_id)
    earlier(world, "r", "claude", V)

    found = json.loads(printed(world, "delete", "r", "--earlier", "--yes", "--json"))

    assert [(each["session_id"], each["earlier"]) for each in found] == [(V, True)]
    assert world.mappings == {"r": {"claude": U}}
    assert not everything(world, V)
    assert history(world) == []
    assert "no earlier conversation to delete" in refused(world, "delete", "r", "--earlier", "-y")

    earlier(world, "r", "claude", V)
    transcript(world, V)
    printed(world, "delete", "r", "--yes")
    assert not everything(world, V)
    assert history(world) == []


def test_all_earlier_ones_go_however_many(world: World) -> None:
    ids = [str(uuid.uuid4()) for _ in range(24)]
    sessions = Store(str(world.store.parent))
    for session_id in ids:
        sessions.record("r", "claude", session_id)
        transcript(world, session_id)
    found = json.loads(printed(world, "delete", "r", "--yes", "--json"))
    assert {each["session_id"] for each in found} == set(ids)
    assert not [path for path in world.home.rglob("*.jsonl") if path.stat().st_size]
    assert not any(everything(world, session_id) for session_id in ids)


def test_forks_go_too_wherever_they_are(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    transcript(world, U)
    above = str(world.store.parent)
    elsewhere = world.home / "elsewhere" / "projects" / "-w" / f"{V}.jsonl"
    elsewhere.parent.mkdir(parents=True)
    elsewhere.write_text("a word")
    fork_marker.begin(above, fork_marker.Marker(V, U, path=str(elsewhere)))
    fork_marker.begin(above, fork_marker.Marker(W, V, path=str(transcript(world, W))))
    fork_marker.end(above, W)
    found = json.loads(printed(world, "delete", "r", "--yes", "--json"))
    assert {each["session_id"]: each["fork"] for each in found} == {U: False, V: True, W: True}
    assert not any(everything(world, session_id) for session_id in (U, V, W))
    assert not elsewhere.exists()


def test_a_fork_that_another_room_has_stays_with_its_forks(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}, "s": {"a": entry(V)}})
    paths = [transcript(world, session_id) for session_id in (V, W)]
    transcript(world, U)
    above = str(world.store.parent)
    fork_marker.begin(above, fork_marker.Marker(V, U))
    fork_marker.begin(above, fork_marker.Marker(W, V))
    printed(world, "delete", "r", "--yes")
    assert all(path.exists() for path in paths)
    assert world.mappings == {"s": {"a": V}}


def test_a_room_whose_derived_conversation_another_has_begins_anew(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}, "s": {"a": entry(derived("r"))}})
    transcript(world, U)
    path = transcript(world, derived("r"))
    printed(world, "delete", "r", "--yes")
    assert path.exists()
    call = world.call("-p", env={"NSED_ROOM_ID": "r"})
    assert call.args[0] == b"--session-id"
    assert call.args[1] not in (derived("r").encode(), U.encode())
    assert not everything(world, U)


def test_nothing_that_was_said_is_found_afterwards(world: World) -> None:
    word = "pterodactyl"
    store(world, {"r": {"claude": entry(U)}})
    path = transcript(world, U)
    path.write_text(path.read_text() + json.dumps({"type": "user", "message": word}) + "\n")
    beside = path.with_suffix("") / "tool-results" / "1.txt"
    beside.parent.mkdir(parents=True)
    beside.write_text(word)
    housekeeping.run(str(world.store.parent), str(path.parent.parent))
    copied = gzip.compress(word.encode())
    (world.store.parent / "kept" / f"{U}.jsonl.gz").write_bytes(copied)
    path.with_name(f"{path.name}.unusable-20260101T000000Z").write_text(word)
    printed(world, "delete", "r", "--yes")
    assert [file for file in world.home.rglob("*") if file.is_file() and says(file, word)] == []
    assert not everything(world, U)


def says(file: Path, word: str) -> bool:
    """Whether a file has a word in it, compressed or not."""
    content = file.read_bytes()
    content = gzip.decompress(content) if file.suffix == ".gz" else content
    return word.encode() in content


def test_one_question_names_the_sizes(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    for session_id in (U, V, W):
        transcript(world, session_id)
    earlier(world, "r", "claude", V)
    earlier(world, "r", "claude", W)
    before = files(world)
    with terminal(world, "delete", "r") as child:
        for session_id, kind in ((U, "current"), (V, "earlier"), (W, "earlier")):
            child.expect(rf"r +claude +{session_id} +{kind} +95 B")
        child.expect_exact(
            "Room r, agent claude: its conversation, 95 B and 2 earlier, 190 B. Delete for good?"
        )
        child.sendline("n")
        assert exit_code(child) == 1
    assert files(world) == before
    with terminal(world, "delete", "r") as child:
        child.expect_exact("Delete for good?")
        child.sendline("y")
        child.expect_exact("Deleted 3 conversations, 285 B.")
        assert exit_code(child) == 0
    assert world.mappings == {}


def test_without_a_terminal_it_is_not_done_unasked(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    path = transcript(world, U)
    assert "no terminal to ask on" in refused(world, "delete", "r")
    assert path.exists()


@pytest.mark.parametrize("who", ["holder", "unmanaged"])
def test_a_conversation_that_a_claude_is_live_on_stays(world: World, who: str) -> None:
    store(world, {"r": {"claude": entry(U)}})
    path = transcript(world, U)
    if who == "unmanaged":
        register(world, U)
        said = refused(world, "delete", "r", "--yes", exit_code=75)
    else:
        with live(world, "r"):
            said = refused(world, "delete", "r", "--yes", exit_code=75)
    assert said.endswith("end it first")
    assert path.exists()
    assert world.mappings == {"r": {"claude": U}}


def test_a_conversation_that_others_go_on_with_stays(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}, "s": {"a": entry(U)}})
    path = transcript(world, U)
    said = refused(world, "delete", "r", "--yes", exit_code=75)
    assert said.startswith(f"room 's', agent 'a' has {U}, too")
    assert path.exists()


def test_an_earlier_one_that_others_go_on_with_stays_theirs(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}, "s": {"a": entry(V)}})
    path = transcript(world, V)
    transcript(world, U)
    earlier(world, "r", "claude", V)
    printed(world, "delete", "r", "--yes")
    assert path.exists()
    assert world.mappings == {"s": {"a": V}}


def test_an_id_that_is_no_uuid_deletes_nothing_else(world: World) -> None:
    store(world, {"r": {"claude": entry("")}})
    path = transcript(world, U)
    printed(world, "delete", "r", "--yes")
    assert path.exists()
    assert world.mappings == {}


def test_what_is_not_there_is_no_deletion(world: World) -> None:
    store(world, {"refactor": {"claude": entry(U)}})
    said = refused(world, "delete", "refaktor", "--yes")
    assert said == ("room 'refaktor' has no conversation to delete: did you mean 'refactor'?")


def test_forget_offers_a_way_back_only_while_there_is_one(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    with_all(world, U)
    kept = str(world.store.parent / "kept" / f"{U}.jsonl")
    pins.note(pins.link_of(kept), pins.identity(kept))
    transcript(world, U, age=0).unlink()
    run = ask(world, "forget", "r")
    assert run.exit_code == 0
    assert b"to go back" not in run.stdout
