"""How changes are written: what moves, what is flushed, and what a torn or full disk costs."""

import contextlib
import errno
import json
import os
import posix
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shim.base import times
from shim.base.messages import Failure
from shim.base.session_key import derive, stored_key
from shim.store import history, unrecorded
from shim.store.store import Store

UUIDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)]


def derived(room: str) -> str:
    return derive(stored_key(room, "claude"))


@pytest.fixture
def sessions(tmp_path: Path) -> Store:
    """A store with a room of an id of its own, and one of a derived id."""
    made = Store(str(tmp_path / "nsed"))
    made.record("own", "claude", UUIDS[0])
    made.record("derived", "claude", derived("derived"))
    return made


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are flushed."""
    flushed: list[str] = []
    fsync = posix.fsync

    def noting(file: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{file}").rpartition("/")[2])
        fsync(file)

    monkeypatch.setattr(posix, "fsync", noting)
    return flushed


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file gets longer, and none is made."""
    with pytest.MonkeyPatch.context() as patch:
        pwrite, write, opened = posix.pwrite, os.write, posix.open

        def limited_pwrite(file: int, data: Any, at: int) -> int:
            if at + len(data) > os.fstat(file).st_size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return pwrite(file, data, at)

        def limited_open(path: str, how: int, *mode: Any) -> int:
            if how & posix.O_CREAT and not os.path.lexists(path):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return opened(path, how, *mode)

        def no_write(file: int, data: Any) -> int:
            if os.fstat(file).st_size or not data:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(file, data)

        patch.setattr(posix, "pwrite", limited_pwrite)
        patch.setattr(posix, "open", limited_open)
        patch.setattr(os, "open", limited_open)
        patch.setattr(os, "write", no_write)
        yield


def files(sessions: Store) -> tuple[bytes, bytes]:
    return Path(sessions.path).read_bytes(), Path(sessions.path + ".bak").read_bytes()


class TestANewRoom:
    def test_is_written_behind_the_others_and_nothing_else_moves(self, sessions: Store) -> None:
        before, _ = files(sessions)
        sessions.record("new", "claude", UUIDS[1])
        after, backup = files(sessions)
        assert after.startswith(before[: -len(b"\n}")])
        assert after == backup
        assert list(json.loads(after)) == ["own", "derived", "new"]

    def test_with_the_derived_id_waits_for_no_disk(
        self, sessions: Store, flushes: list[str]
    ) -> None:
        sessions.record("new", "claude", derived("new"))
        assert flushes == []

    def test_with_another_id_is_on_disk_before_the_call_returns(
        self, sessions: Store, flushes: list[str]
    ) -> None:
        sessions.record("new", "claude", UUIDS[1])
        assert flushes == ["sessions.json"]

    def test_the_first_one_of_a_store_waits_for_no_disk_either(
        self, tmp_path: Path, flushes: list[str]
    ) -> None:
        first = Store(str(tmp_path / "first"))
        first.record("new", "claude", derived("new"))
        assert flushes == []
        assert files(first)[0] == files(first)[1]
        assert first.get("new", "claude") == derived("new")

    @pytest.mark.parametrize("behind", [b"\n", b"\n" * 300, b"  \n"])
    def test_line_ends_behind_the_document_are_no_trouble(
        self, sessions: Store, behind: bytes
    ) -> None:
        with open(sessions.path, "ab") as file:
            file.write(behind)
        sessions.record("new", "claude", UUIDS[1])
        assert list(json.loads(files(sessions)[0])) == ["own", "derived", "new"]

    def test_of_a_store_that_another_program_wrote_brings_the_backup_in_step(
        self, sessions: Store
    ) -> None:
        mappings = json.loads(files(sessions)[0])
        Path(sessions.path).write_text(json.dumps(dict(reversed(mappings.items())), indent=2))
        sessions.record("new", "claude", UUIDS[1])
        after, backup = files(sessions)
        assert after == backup
        assert list(json.loads(after)) == ["derived", "own", "new"]

    def test_beside_damage_is_found_and_so_is_what_stands_whole(self, sessions: Store) -> None:
        data = files(sessions)[0].replace(b'"derived": {', b'"derived: {')
        Path(sessions.path).write_bytes(data)
        sessions.record("new", "claude", UUIDS[1])
        mappings = sessions.mappings()
        assert mappings["new"]["claude"]["uuid"] == UUIDS[1]
        assert mappings["own"]["claude"]["uuid"] == UUIDS[0]
        assert mappings["derived"]["claude"]["uuid"] == derived("derived")


class TestATornEnd:
    @pytest.mark.parametrize("fill", [b"", b"\0", b"\n"])
    def test_loses_nothing_but_what_can_be_derived_again(self, tmp_path: Path, fill: bytes) -> None:
        for lost in range(1, 400, 7):
            sessions = Store(str(tmp_path / f"{lost}"))
            sessions.record("own", "claude", UUIDS[0])
            backup = files(sessions)[1]
            for number in range(3):
                sessions.record(f"r{number}", "claude", derived(f"r{number}"))
            whole = files(sessions)[0]
            Path(sessions.path).write_bytes(whole[:-lost] + fill * lost)
            Path(sessions.path + ".bak").write_bytes(backup)
            assert sessions.recall("own", "claude") == UUIDS[0]
            for number in range(3):
                found = sessions.recall(f"r{number}", "claude")
                assert found in (None, derived(f"r{number}")), lost

    def test_of_file_and_backup_loses_what_was_added_last(self, sessions: Store) -> None:
        sessions.record("last", "claude", derived("last"))
        for path in (sessions.path, sessions.path + ".bak"):
            Path(path).write_bytes(Path(path).read_bytes()[:-40])
        assert sessions.recall("own", "claude") == UUIDS[0]
        assert sessions.recall("derived", "claude") == derived("derived")

    def test_that_nsed_begins_anew_is_recovered(self, sessions: Store) -> None:
        for number in range(5):
            sessions.record(f"r{number}", "claude", UUIDS[10 + number])
        # It finds no JSON, and writes what it alone knows.
        entry = {"uuid": UUIDS[9], "last_used": times.now()}
        Path(sessions.path).write_text(json.dumps({"seeds": {"a": entry}}, indent=2))
        assert sessions.recall("r3", "claude") == UUIDS[13]
        assert set(sessions.mappings()) == {"seeds", "own", "derived", *(f"r{n}" for n in range(5))}

    def test_after_nsed_cleaned_up_does_not_bring_that_back(self, sessions: Store) -> None:
        mappings = json.loads(files(sessions)[0])
        del mappings["derived"]
        Path(sessions.path).write_text(json.dumps(mappings, indent=2))
        sessions.record("new", "claude", UUIDS[1])
        Path(sessions.path).write_bytes(files(sessions)[0][:-50])
        assert set(sessions.mappings()) == {"own", "new"}


class TestAnotherId:
    def test_takes_the_place_of_one_as_long_and_the_earlier_is_noted(
        self, sessions: Store, flushes: list[str]
    ) -> None:
        size = len(files(sessions)[0])
        sessions.record("own", "claude", UUIDS[1])
        after, backup = files(sessions)
        assert len(after) == size
        for content in (after, backup):
            assert json.loads(content)["own"]["claude"]["uuid"] == UUIDS[1]
        assert flushes.count("sessions.json") == 1
        assert [line["uuid"] for line in earlier(sessions)] == [UUIDS[0]]

    def test_needs_no_space_on_a_full_disk(
        self, sessions: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with full_disk():
            sessions.record("own", "claude", UUIDS[1])
            assert sessions.get("own", "claude") == UUIDS[1]
        assert "is not noted" in capsys.readouterr().err
        assert sessions.recall("own", "claude") == UUIDS[1]
        assert [line["uuid"] for line in earlier(sessions)] == [UUIDS[0]]
        assert json.loads(files(sessions)[1])["own"]["claude"]["uuid"] == UUIDS[1]

    @pytest.mark.parametrize("more", [0, 1])
    def test_by_another_program_is_noted_by_the_next_call(self, sessions: Store, more: int) -> None:
        mappings = json.loads(files(sessions)[0])
        mappings["own"]["claude"]["uuid"] = UUIDS[1]
        for number in range(more):
            mappings[f"more-{number}"] = mappings["derived"]
        written = json.dumps(dict(reversed(mappings.items())), indent=2)
        Path(sessions.path).write_text(written)
        for _ in range(2):
            assert sessions.recall("own", "claude") == UUIDS[1]
        assert [line["uuid"] for line in earlier(sessions)] == [UUIDS[0]]

    def test_by_another_program_is_noted_before_the_backup_is_written_anew(
        self, sessions: Store
    ) -> None:
        mappings = json.loads(files(sessions)[0])
        mappings["own"]["claude"]["uuid"] = UUIDS[1]
        Path(sessions.path).write_text(json.dumps(dict(reversed(mappings.items())), indent=2))
        sessions.record("new", "claude", UUIDS[2])
        assert [line["uuid"] for line in earlier(sessions)] == [UUIDS[0]]


def earlier(sessions: Store) -> list[dict[str, Any]]:
    return history.earlier(sessions.directory, "own", "claude")


class TestWhatCannotBeRecorded:
    @pytest.fixture(autouse=True)
    def refused(self, sessions: Store, tmp_path: Path) -> None:
        with full_disk(), pytest.raises(Failure):
            sessions.record("new", "claude", UUIDS[1])

    def test_is_reported_with_the_reason(self, sessions: Store) -> None:
        (told,) = unrecorded.pending(sessions.directory, sessions.mappings())
        assert told[1] == os.strerror(errno.ENOSPC)

    def test_is_recorded_and_said_by_the_next_call(
        self, sessions: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert sessions.recall("new", "claude") == UUIDS[1]
        assert os.strerror(errno.ENOSPC) in capsys.readouterr().err
        assert sessions.get("new", "claude") == UUIDS[1]
        assert unrecorded.pending(sessions.directory, {}) == []
        assert sessions.recall("new", "claude") == UUIDS[1]
        assert capsys.readouterr().err == ""

    def test_is_resumed_while_the_disk_stays_full(
        self, sessions: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with full_disk():
            assert sessions.recall("new", "claude") == UUIDS[1]
        assert os.strerror(errno.ENOSPC) in capsys.readouterr().err
        assert sessions.recall("new", "claude") == UUIDS[1]

    def test_is_forgotten_by_another_head(self, sessions: Store) -> None:
        sessions.record("new", "claude", UUIDS[2])
        assert sessions.recall("new", "claude") == UUIDS[2]

    def test_is_forgotten_by_a_change_of_that_key_alone(self, sessions: Store) -> None:
        def link(room: str) -> Callable[[Any], Any]:
            def change(mappings: Any) -> Any:
                mappings[room] = {"claude": {"uuid": UUIDS[3], "last_used": times.now()}}
                return []

            return change

        sessions.change(link("another"))
        assert len(unrecorded.pending(sessions.directory, {})) == 1
        sessions.change(link("new"))
        assert sessions.recall("new", "claude") == UUIDS[3]
