"""Where rooms stand in a large store: remembered, and never believed against the file."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.store import layout, places
from shim.store.store import Store

UUIDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)]
STAMP = "2026-01-02T03:04:05.123456789Z"


@pytest.fixture(autouse=True)
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "_LARGE", 0)


@pytest.fixture
def sessions(tmp_path: Path) -> Store:
    made = Store(str(tmp_path / "nsed"))
    for number in range(5):
        made.record(f"room-{number}", "claude", UUIDS[number])
    return made


@pytest.fixture
def nothing_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From this call on, only what is remembered is found."""

    def fail(*_: object) -> None:
        raise AssertionError("it is looked for")

    return lambda: monkeypatch.setattr(layout, "_last_room", fail)


def of(sessions: Store) -> Path:
    return Path(sessions.directory, places.FILE_NAME)


def edit(sessions: Store, old: bytes, new: bytes) -> None:
    """As an editor does that writes in place: without our lock, and some time later."""
    path = Path(sessions.path)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000))


def test_a_room_is_looked_for_once(
    sessions: Store, nothing_is_looked_for: Callable[[], None]
) -> None:
    for number in range(5):
        assert sessions.recall(f"room-{number}", "claude") == UUIDS[number]
    nothing_is_looked_for()
    for number in (3, 0, 4, 0):
        assert sessions.recall(f"room-{number}", "claude") == UUIDS[number]
    assert sessions.recall("room-2", "another agent") is None


def test_in_a_small_store_nothing_is_remembered(
    sessions: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    assert sessions.recall("room-1", "claude") == UUIDS[1]
    assert not of(sessions).exists()


def test_of_two_rooms_of_one_name_the_last_one_counts(sessions: Store) -> None:
    assert sessions.recall("room-1", "claude") == UUIDS[1]
    edit(sessions, b'"room-3"', b'"room-1"')
    assert sessions.recall("room-2", "claude") == UUIDS[2]
    for _ in range(2):
        assert sessions.recall("room-1", "claude") == UUIDS[3]


def test_what_another_program_changed_is_looked_for_again(sessions: Store) -> None:
    assert sessions.recall("room-1", "claude") == UUIDS[1]
    edit(sessions, b'"room-1"', b'"room-X"')
    assert sessions.recall("room-1", "claude") is None
    assert sessions.recall("room-X", "claude") == UUIDS[1]


@pytest.mark.parametrize("place", [0, 1, 5, 40, 10**6, 2**63 - 1])
def test_a_place_that_is_wrong_is_not_believed(sessions: Store, place: int) -> None:
    assert sessions.recall("room-1", "claude") == UUIDS[1]
    with of(sessions).open("r+b") as file:
        file.seek(places._slot(b'"room-1"'))
        file.write(place.to_bytes(8, "little"))
    assert sessions.recall("room-1", "claude") == UUIDS[1]


@pytest.mark.parametrize("content", [b"", b"short", b"\xff" * 99])
def test_a_damaged_file_of_places_is_no_harm(sessions: Store, content: bytes) -> None:
    of(sessions).write_bytes(content)
    for _ in range(2):
        assert sessions.recall("room-1", "claude") == UUIDS[1]


def test_without_such_a_file_all_is_found(sessions: Store) -> None:
    of(sessions).mkdir()
    for _ in range(2):
        assert sessions.recall("room-1", "claude") == UUIDS[1]


NAMES = st.sampled_from(["a", "b", "room", 'q"', "claude", "é", "uuid"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("recall"), NAMES, NAMES),
        st.tuples(st.just("record"), NAMES, NAMES, st.sampled_from(UUIDS)),
        st.tuples(st.just("rewrite"), st.permutations(range(7))),
        st.tuples(st.just("drop"), NAMES),
    ),
    max_size=30,
)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40
)
@given(steps=STEPS)
def test_whatever_is_done_what_is_found_is_what_the_file_says(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Any]
) -> None:
    sessions = Store(str(tmp_path_factory.mktemp("store")))
    known: dict[str, dict[str, str]] = {}
    for step, *how in steps:
        if step == "recall":
            room, agent = how
            assert sessions.recall(room, agent) == known.get(room, {}).get(agent)
        elif step == "record":
            room, agent, session_id = how
            sessions.record(room, agent, session_id)
            known.setdefault(room, {})[agent] = session_id
        elif step == "drop" and how[0] in known:
            sessions.change(lambda mappings, room=how[0]: mappings.pop(room) and ())
            del known[how[0]]
        elif step == "rewrite" and known:
            (order,) = how
            rooms = sorted(known)
            known = {rooms[at]: known[rooms[at]] for at in order if at < len(rooms)}
            rewrite(sessions, known)


def rewrite(sessions: Store, known: dict[str, dict[str, str]]) -> None:
    """As NSED's own programs do, which keep no order."""
    mappings = {
        room: {agent: {"uuid": it, "last_used": STAMP} for agent, it in agents.items()}
        for room, agents in known.items()
    }
    Path(sessions.path).write_text(json.dumps(mappings, indent=2, ensure_ascii=False))
