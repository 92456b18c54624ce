"""A kill at any instant of an append loses nothing, and doubles nothing."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from shim.base import files
from shim.claude import lines
from shim.forks import appending, catching_up
from shim.store.markers import FORKED
from tests.support.transcripts import history

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.transcripts import Writer
    from tests.unit.forks.conftest import Room

SAID = ["one", "own", "two", "three"]


class _KilledError(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def fork(room: Room) -> Writer:
    """A fork that has two turns which the head lacks."""
    room.head.say("one")
    fork = room.fork()
    room.head.say("own")
    asked = fork.ask("two")
    use = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}
    other = {**use, "id": "t2"}
    first = fork.assistant(fork.leaf(), "tool_use", use)
    second = fork.assistant(first["uuid"], "tool_use", other)
    result = {"type": "tool_result", "content": "ok"}
    fork.write(
        first,
        second,
        fork.user(first["uuid"], [{**result, "tool_use_id": "t1"}]),
        fork.user(second["uuid"], [{**result, "tool_use_id": "t2"}]),
    )
    assert asked
    fork.answer("did it")
    fork.say("three")
    return fork


def ids(path: Path) -> list[str]:
    """The uuids of all lines that are whole."""
    with lines.open_regular(str(path)) as file:
        return [str(line.entry["uuid"]) for line in lines.forward(file) if "uuid" in line.entry]


@pytest.mark.parametrize("has_intent", [True, False], ids=["killed", "power cut"])
def test_an_append_that_was_cut_anywhere_is_whole_and_once_afterwards(
    room: Room, fork: Writer, tmp_path: Path, has_intent: bool
) -> None:
    before, marker = room.head.path.read_bytes(), tmp_path / "markers"
    shutil.copytree(room.store, marker)
    room.catch_up(room.head)
    payload = room.head.path.read_bytes()[len(before) :]
    whole = history(room.head.path)
    assert whole == SAID
    intent = f"{room.store}/{FORKED}/{room.head.session_id}.appending"
    for length in {*range(0, len(payload), 37), len(payload) - 1, len(payload)}:
        shutil.rmtree(room.store)
        shutil.copytree(marker, room.store)
        room.head.path.write_bytes(before + payload[:length])
        if has_intent:
            head = f'{{"path": "{room.head.path}", "size": {len(before)}}}\n'.encode()
            files.replace(intent, head + payload)

        room.catch_up(room.head)

        assert history(room.head.path) == SAID, length
        assert len(set(ids(room.head.path))) == len(ids(room.head.path)), length
        assert room.catch_up(room.head) == []
    assert fork.path.exists()


@pytest.mark.parametrize("step", ["_copy_sidecars", "_write", "_check"])
def test_a_kill_between_two_steps_is_made_good_by_the_next_call(
    room: Room, fork: Writer, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise _KilledError

    with monkeypatch.context() as patch:
        patch.setattr(appending, step, kill)
        patch.setattr(appending, "undo", lambda *_: None)
        with pytest.raises(_KilledError):
            room.catch_up(room.head)
    room.catch_up(room.head)
    assert history(room.head.path) == SAID
    assert fork.path.exists()


def test_what_somebody_wrote_behind_an_append_is_never_cut_off(room: Room, fork: Writer) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appending, "_check", lambda *_: (_ for _ in ()).throw(_KilledError))
        patch.setattr(appending, "undo", lambda *_: None)
        with pytest.raises(_KilledError):
            room.catch_up(room.head)
    room.head.say("by an unmanaged claude")
    fork.say("four")
    room.catch_up(room.head)
    assert history(room.head.path) == [*SAID, "by an unmanaged claude", "four"]


def test_a_full_disk_leaves_the_conversation_as_it_was(
    room: Room, fork: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = room.head.path.read_bytes()

    def fill_up(path: str, size: int, payload: bytes) -> None:
        with open(path, "r+b") as file:
            file.seek(size)
            file.write(payload[:100])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(appending, "_write", fill_up)
        with pytest.raises(OSError, match="No space"):
            room.catch_up(room.head)
    assert room.head.path.read_bytes() == before
    room.catch_up(room.head)
    assert history(room.head.path) == SAID
    assert fork.path.exists()


def test_what_does_not_follow_is_cut_off_again(
    room: Room, fork: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = room.head.path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr("shim.claude.copying.Passage.line", lambda *_: b'{"type":"user"}\n')
        with pytest.raises(appending.Broken):
            catching_up.catch_up(room.store, room.head.session_id)
    assert room.head.path.read_bytes() == before
    assert fork.path.exists()
