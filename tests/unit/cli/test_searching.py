"""The hits of a search are those of an honest parse of every line, whatever is left out of it."""

from __future__ import annotations

import gzip
import json
import math
import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.base import stamps
from shim.claude.text_search import Query
from shim.cli import searching
from shim.cli.excerpts import excerpts
from shim.cli.room_transcripts import FORK, HEAD, RoomConversation, RoomFile
from shim.cli.searching import Found, Scope
from shim.cli.tables import width

if TYPE_CHECKING:
    from pathlib import Path

BEGAN = stamps.nanoseconds("2026-11-30T00:00:00Z")
assert BEGAN
MINUTE = 60.0
WORDS = ("heron", "Heron", "crane", "egret")


@st.composite
def transcripts(draw: st.DrawFn) -> list[list[tuple[int, str, str]]]:
    """The minute, id and text of each line of some files, which share lines."""
    ids = st.integers(0, 30).map(str)
    line = st.tuples(st.integers(0, 5000), ids, st.lists(st.sampled_from(WORDS)).map(" ".join))
    lines = draw(st.lists(line, max_size=30, unique_by=lambda each: each[1]))
    count = draw(st.integers(1, 4))
    return [sorted(it for it in lines if draw(st.booleans())) for _ in range(count)]


def write(directory: Path, number: int, lines: list[tuple[int, str, str]]) -> RoomFile:
    """A file of these lines, last written with the last of them; every third is compressed."""
    is_compressed = number % 3 == 2
    path = directory / f"{number}.jsonl{'.gz' if is_compressed else ''}"
    content = "".join(json.dumps(entry(*each)) + "\n" for each in lines).encode()
    path.write_bytes(gzip.compress(content) if is_compressed else content)
    assert BEGAN
    written = BEGAN / 1e9 + (lines[-1][0] if lines else 0) * MINUTE
    os.utime(path, (written, written))
    part = HEAD if number == 0 else FORK
    return RoomFile(RoomConversation("r", "a", str(number), part), str(path), written, len(content))


def entry(minute: int, uuid: str, text: str) -> dict[str, Any]:
    assert BEGAN
    day, rest = divmod(minute, 1440)
    at = f"{'2026-11-30' if not day else f'2026-12-{day:02d}'}T{rest // 60:02d}:{rest % 60:02d}:00Z"
    message = {"role": "user", "content": text}
    return {"type": "user", "uuid": uuid, "parentUuid": None, "timestamp": at, "message": message}


@settings(max_examples=60, deadline=None)
@given(
    content=transcripts(),
    words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=2),
    limit=st.integers(1, 12),
    bounds=st.tuples(st.integers(-1, 5000), st.integers(0, 5001)),
    single=st.sampled_from([0, 1 << 23]),
)
def test_the_newest_hits_are_those_of_an_honest_parse(
    tmp_path_factory: pytest.TempPathFactory,
    content: list[list[tuple[int, str, str]]],
    words: list[str],
    limit: int,
    bounds: tuple[int, int],
    single: int,
) -> None:
    directory = tmp_path_factory.getbasetemp() / "newest"
    directory.mkdir(exist_ok=True)
    files = [write(directory, number, lines) for number, lines in enumerate(content)]
    query = Query(words)
    assert BEGAN
    since, until = (BEGAN / 1e9 + minute * MINUTE for minute in bounds)
    every = {uuid: (minute, text) for lines in content for minute, uuid, text in lines}
    honest = sorted(
        minute
        for minute, text in every.values()
        if query.spans(text) and bounds[0] <= minute <= bounds[1]
    )[::-1][:limit]
    found = Found(limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "_SINGLE", single)
        assert searching.search(files, query, Scope(since, until), found) == []
    assert [round((hit.when - BEGAN / 1e9) / MINUTE) for hit in found.hits] == honest
    assert len({hit.uuid for hit in found.hits}) == len(honest)


def test_a_file_that_cannot_hold_a_newer_hit_is_not_opened(tmp_path: Path) -> None:
    new = write(tmp_path, 0, [(5000, "1", "heron")])
    gone = RoomFile(RoomConversation("r", "b", "2", HEAD), str(tmp_path / "gone"), 0.0, 5)
    found = Found(1)
    assert searching.search([gone, new], Query(["heron"]), Scope(), found) == []
    assert found.is_cut
    (unread,) = searching.search([gone, new], Query(["heron"]), Scope(), Found(2))
    assert unread == f"{tmp_path / 'gone'} (No such file or directory)"


def test_a_message_of_a_fork_and_its_head_is_the_heads(tmp_path: Path) -> None:
    files = [write(tmp_path, number, [(number, "1", "heron")]) for number in (0, 1)]
    found = Found(5)
    searching.search(files, Query(["heron"]), Scope(-math.inf), found)
    assert [hit.conversation.part for hit in found.hits] == [HEAD]


@pytest.mark.parametrize(
    ("text", "cells", "shown"),
    [
        ("a heron", 20, ["a heron"]),
        ("\ta heron", 20, ["a heron"]),
        ("x" * 50 + " heron", 20, ["…" + "x" * 11 + " heron"]),
        ("heron " + "x" * 50, 20, ["heron " + "x" * 13 + "…"]),
        ("x" * 50 + " heron " + "y" * 50, 20, ["…" + "x" * 4 + " heron " + "y" * 7 + "…"]),
        ("漢" * 30 + "heron" + "漢" * 30, 20, ["…漢漢heron漢漢漢漢…"]),
        ("heron\nheron heron\n\nheron\nheron", 20, ["heron", "heron heron", "heron"]),
        ("\x1b[31mheron\x9b", 30, ["\\x1b[31mheron\\x9b"]),
    ],
)
def test_an_excerpt_fits_and_shows_the_word(text: str, cells: int, shown: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        assert excerpts(text, Query(["heron"]).spans(text), cells, 3) == shown


@settings(max_examples=100, deadline=None)
@given(
    text=st.text("ab \t漢\n\x1b\u202e\U0001f600e\u0301", max_size=40),
    cells=st.integers(4, 30),
)
def test_no_excerpt_is_too_wide_or_has_a_control_character(text: str, cells: int) -> None:
    spans = Query(["a"]).spans(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_COLOR", "1")
        shown = excerpts(text, spans, cells, 3)
    assert all(width(line) <= cells and line.isprintable() for line in shown), shown
    assert bool(shown) == bool(spans)
