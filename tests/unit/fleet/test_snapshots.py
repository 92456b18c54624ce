"""What the files of a log and of a host have to do with one another, and what comes of it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.fleet import snapshots
from shim.fleet.backend import Stored
from shim.fleet.records import CLAIM, DATA, LeaseHolder, Record
from shim.fleet.snapshots import DamagedLog, NeedsFullLog, Snapshot, SnapshotFile, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

HOLDER = LeaseHolder("h", "name", "i", 7, "one-shot")


_made: list[Snapshot] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while _made:
        _made.pop().close()


def line(name: str, kind: str = "user") -> str:
    entry = {"type": kind, "uuid": name, "message": {"role": kind, "content": name}}
    return json.dumps(entry, separators=(",", ":")) + "\n"


def answer(name: str) -> str:
    return line(name, "assistant")


def call(name: str) -> str:
    """A tool call and its result, which claude writes in the user's name."""
    use = {"type": "tool_use", "id": name, "name": "Bash", "input": {}}
    result = {"type": "tool_result", "tool_use_id": name, "content": "ok"}
    asked = {"type": "assistant", "uuid": f"use-{name}", "message": {"content": [use]}}
    answered = {"type": "user", "uuid": f"result-{name}", "message": {"content": [result]}}
    return "".join(json.dumps(entry) + "\n" for entry in (asked, answered))


NOTE = '{"type":"last-prompt"}\n'
OTHER_NOTE = '{"type":"mode"}\n'
ONE, TWO, THREE = line("1") + answer("a1"), line("2") + answer("a2"), line("3") + answer("a3")


def data(offset: int, body: str, is_continued: bool = False, file: str = "") -> Record:
    return Record(DATA, HOLDER, 1, file, offset, is_continued, body.encode())


def snapshot(records: Iterable[Record], bases: dict[str, int] | None = None) -> Snapshot:
    async def stored() -> AsyncIterator[Stored]:
        for sequence, record in enumerate(records, 1):
            yield Stored(sequence, record, "", sequence - 1)

    made = Snapshot(bases or {}, is_whole=not bases)
    _made.append(made)
    asyncio.run(made.read(stored(), 0))
    return made


def text(file_snapshot: SnapshotFile) -> str:
    return file_snapshot.read(file_snapshot.base, file_snapshot.end - file_snapshot.base).decode()


@pytest.mark.parametrize(
    ("here", "log", "verdict", "same"),
    [
        ("", "", Verdict.SAME, ""),
        (ONE, ONE, Verdict.SAME, ONE),
        (ONE, ONE + '{"torn', Verdict.SAME, ONE),
        (ONE + '{"torn', ONE, Verdict.SAME, ONE),
        ("", ONE, Verdict.LOG_IS_AHEAD, ""),
        (ONE, ONE + TWO, Verdict.LOG_IS_AHEAD, ONE),
        (ONE + '{"torn', ONE + TWO, Verdict.LOG_IS_AHEAD, ONE),
        (ONE + TWO, ONE, Verdict.WE_ARE_AHEAD, ONE),
        (ONE + TWO, "", Verdict.WE_ARE_AHEAD, ""),
        (ONE + NOTE, ONE + TWO, Verdict.LOG_WINS, ONE),
        (ONE + NOTE + TWO, ONE + TWO, Verdict.LOG_WINS, ONE),
        (ONE + TWO, ONE + NOTE, Verdict.WE_WIN, ONE),
        (line("1") + TWO, ONE + TWO, Verdict.LOG_WINS, line("1")),
        (ONE + TWO, ONE + THREE, Verdict.DIVERGED, ONE),
        (TWO, ONE, Verdict.DIVERGED, ""),
        (ONE + line("2"), ONE + line("2x"), Verdict.DIVERGED, ONE),
        (line("1") + answer("again") + TWO, line("1") + answer("a1"), Verdict.WE_WIN, line("1")),
        (
            line("1") + answer("again") + TWO,
            line("1") + call("taken back"),
            Verdict.WE_WIN,
            line("1"),
        ),
    ],
)
def test_the_side_whose_turns_the_other_has_all_gives_way(
    tmp_path: Path, here: str, log: str, verdict: Verdict, same: str
) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(here)
    found, until, _ = snapshots.compare(str(path), snapshot([data(0, log)]).transcript)
    assert (found, until) == (verdict, len(same))


ORIGINAL = "before-cleanup/1-ab.jsonl.replaced"


@pytest.mark.parametrize("here", [TWO, TWO + THREE])
def test_what_claude_shortened_here_is_not_what_the_log_has(tmp_path: Path, here: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(here)
    original = tmp_path / "x" / ORIGINAL
    original.parent.mkdir(parents=True)
    original.write_text(ONE + TWO)
    log = snapshot([data(0, ONE + TWO)])
    verdict, same, _ = snapshots.compare(str(path), log.transcript, log.originals())
    assert (verdict, same) == (Verdict.WE_WIN, 0)


@pytest.mark.parametrize("turns", [TWO, TWO + THREE])
def test_what_claude_shortened_on_another_host_is_applied(tmp_path: Path, turns: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(ONE + TWO)
    log = snapshot([data(0, ONE + TWO, file=ORIGINAL), data(0, turns)])
    verdict, same, _ = snapshots.compare(str(path), log.transcript, log.originals())
    assert (verdict, same) == (Verdict.LOG_WINS, 0)


def test_only_what_is_behind_the_base_is_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(ONE + TWO)
    file_snapshot = snapshot([data(len(ONE), TWO + THREE)], {"": len(ONE)}).transcript
    assert snapshots.compare(str(path), file_snapshot) == (
        Verdict.LOG_IS_AHEAD,
        len(ONE + TWO),
        len(ONE + TWO + THREE),
    )
    snapshots.apply_to(str(path), file_snapshot, len(ONE + TWO), file_snapshot.end)
    assert path.read_text() == ONE + TWO + THREE


def test_what_is_brought_stays_the_file_it_is(tmp_path: Path) -> None:
    path, kept = tmp_path / "x.jsonl", tmp_path / "kept"
    path.write_text(ONE + NOTE + OTHER_NOTE)
    kept.hardlink_to(path)
    file_snapshot = snapshot([data(0, ONE + TWO)]).transcript
    snapshots.apply_to(str(path), file_snapshot, len(ONE), file_snapshot.end)
    assert kept.read_text() == ONE + TWO


def test_a_record_before_the_end_cuts_there() -> None:
    assert text(snapshot([data(0, ONE + TWO), data(len(ONE), THREE)]).transcript) == ONE + THREE


def test_what_takes_a_files_place_counts_only_when_it_is_whole() -> None:
    records = [
        data(0, ONE + TWO),
        data(0, ONE, is_continued=True),
        data(len(ONE), THREE),
    ]
    assert text(snapshot(records).transcript) == ONE + THREE
    assert text(snapshot(records[:-1]).transcript) == ONE + TWO
    claim = Record(CLAIM, HOLDER, 2)
    assert text(snapshot([*records[:-1], claim, data(len(ONE + TWO), THREE)]).transcript) == (
        ONE + TWO + THREE
    )


def test_a_record_before_the_base_asks_for_the_whole_log() -> None:
    with pytest.raises(NeedsFullLog):
        snapshot([data(2, "x")], {"": 5})


def test_a_log_with_a_hole_is_damaged() -> None:
    with pytest.raises(DamagedLog):
        snapshot([data(0, ONE), data(1000, TWO)])


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_a_file_is_what_the_records_of_its_pieces_say(
    pieces: list[bytes], data: st.DataObject
) -> None:
    whole, records = b"", []
    for piece in pieces:
        at = data.draw(st.integers(0, len(whole)))
        records.append(Record(DATA, HOLDER, 1, "", at, False, piece))
        whole = whole[:at] + piece
    file_snapshot = snapshot(records).transcript
    assert file_snapshot.read(0, file_snapshot.end) == whole


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    sidecars = tmp_path / "conversation"
    sidecars.mkdir()
    (sidecars / "tool-results").symlink_to(outside)
    (sidecars / "x").symlink_to(outside / "x")
    made = snapshot([data(0, "hostile", file="tool-results/y"), data(0, "hostile", file="x")])
    for name, file_snapshot in made.sidecars().items():
        with pytest.raises(OSError, match=r"link|symbolic"):
            snapshots.apply_to_sidecar(str(sidecars), name, file_snapshot)
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("here", "then"),
    [(None, "result"), ("res", "result"), ("result and more", "result and more"), ("x", "result")],
)
def test_a_file_beside_the_transcript_comes_unless_it_goes_on_here(
    tmp_path: Path, here: str | None, then: str
) -> None:
    path = tmp_path / "tool-results" / "x.txt"
    if here is not None:
        path.parent.mkdir()
        path.write_text(here)
    file_snapshot = snapshot([data(0, "result", file="tool-results/x.txt")]).sidecars()[
        "tool-results/x.txt"
    ]
    snapshots.apply_to_sidecar(str(tmp_path), "tool-results/x.txt", file_snapshot)
    assert path.read_text() == then


async def followed(*follows: int) -> AsyncIterator[Stored]:
    for sequence, before in enumerate(follows, 11):
        yield Stored(sequence, data(0, ""), "", before)


def read(after: int, *follows: int) -> None:
    made = Snapshot({})
    _made.append(made)
    asyncio.run(made.read(followed(*follows), after))


def test_a_log_that_goes_on_where_it_was_known_to_be_is_read() -> None:
    read(10, 10, 11, 12)


def test_a_log_whose_beginning_was_purged_is_read_from_there() -> None:
    read(0, 7, 11)


def test_a_record_that_is_missing_is_noticed() -> None:
    with pytest.raises(DamagedLog, match="a record is missing"):
        read(10, 10, 10)


@pytest.mark.parametrize("follows", [0, 4])
def test_a_log_that_was_begun_anew_is_no_longer_the_known_one(follows: int) -> None:
    with pytest.raises(NeedsFullLog):
        read(10, follows)
