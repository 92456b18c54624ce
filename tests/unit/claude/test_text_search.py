"""What a search finds in a transcript is what an honest parse of every line finds."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.claude import lines, said, text_search
from shim.claude.text_search import Query

if TYPE_CHECKING:
    from pathlib import Path

# Few letters, so that words are found; with all that JSON or a change of case writes otherwise.
LETTERS = "aAbBkK\u212a\u0130iéÉсСẞß漢\U0001f600\ud83d \t\n\"\\/'.-0"
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=4).filter(str.strip), min_size=1, max_size=3)
TEXTS = st.text(LETTERS, max_size=12)


def entry(parts: list[str]) -> dict[str, Any]:
    content = [{"type": "text", "text": part} for part in parts]
    message = {"role": "assistant", "model": "m", "content": content}
    return {"type": "assistant", "uuid": "u", "parentUuid": None, "message": message}


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """A line as some writer of JSON would have it: with more escapes than claude's, or none."""
    value = entry(draw(st.lists(TEXTS, max_size=3)))
    text = json.dumps(value, ensure_ascii=draw(st.booleans()))
    if draw(st.booleans()):
        text = text.replace("a", "\\u0061").replace("/", "\\/")
    return text.encode("utf-8", "backslashreplace")


def found(path: Path, query: Query) -> list[int]:
    """The starts of the lines that match, the last first."""
    with path.open("rb") as file:
        return [line.start for line in query.lines(file) if matches(query, line.content)]


def matches(query: Query, line: bytes) -> bool:
    return any(query.spans(each.text) for each in said.by(lines.Line(0, line).entry))


def honest(path: Path, query: Query) -> list[int]:
    content = path.read_bytes().splitlines(keepends=True)
    starts = [sum(map(len, content[:at])) for at in range(len(content))]
    return [at for at, line in zip(starts, content, strict=True) if matches(query, line)][::-1]


@pytest.mark.parametrize("piece", [1, 7, 64, 1 << 18])
@settings(max_examples=60, deadline=None)
@given(content=st.lists(written(), max_size=6), words=WORDS, is_torn=st.booleans())
def test_no_line_is_missed(
    tmp_path_factory: pytest.TempPathFactory,
    piece: int,
    content: list[bytes],
    words: list[str],
    is_torn: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "searched.jsonl"
    path.write_bytes(b"\n".join(content) + (b"" if is_torn else b"\n"))
    query = Query(words)
    before, text_search._PIECE = text_search._PIECE, piece
    try:
        assert found(path, query) == honest(path, query)
    finally:
        text_search._PIECE = before


@settings(max_examples=25, deadline=None)
@given(content=st.lists(written(), max_size=6), words=WORDS)
def test_no_file_is_missed_where_there_are_many(
    tmp_path_factory: pytest.TempPathFactory, content: list[bytes], words: list[str]
) -> None:
    directory = tmp_path_factory.getbasetemp() / "sifted"
    directory.mkdir(exist_ok=True)
    paths = [directory / f"{number}\n.jsonl" for number in range(2)]
    paths += [directory / f"{number}.jsonl" for number in range(len(content))]
    for path, line in zip(paths, [b"", b"", *content], strict=True):
        path.write_bytes(line + b"\n")
    query = Query(words)
    may_match = query.sift([str(path) for path in paths])
    assert [path for path in paths if honest(path, query) and str(path) not in may_match] == []


def test_files_are_told_apart_without_being_parsed(tmp_path: Path) -> None:
    for name in ("heron", "crane"):
        (tmp_path / name).write_text(json.dumps(entry([name])) + "\n")
    paths = [str(tmp_path / name) for name in ("heron", "crane")]
    assert set(Query(["heron"]).sift(paths)) & set(paths) == {paths[0]}


def test_without_grep_every_file_may_match(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(Query(["heron"]).sift(["/a", "/b"])) == ["/a", "/b"]


@pytest.mark.parametrize(
    ("words", "text", "marked"),
    [
        (["heron"], "A Heron, two HERONS", ["Heron", "HERON"]),
        (["Heron"], "A Heron, two HERONS", ["Heron"]),
        (["straße"], "Die STRAẞE", ["STRAẞE"]),
        (["привет"], "ПРИВЕТ", ["ПРИВЕТ"]),
        (["two words"], "two\n  words", ["two\n  words"]),
        (["b", "a"], "a b", ["a", "b"]),
        (["b", "c"], "a b", []),
        (["aa", "aab"], "aaab", ["aaab"]),
        (["k"], "\u212a", []),
    ],
)
def test_what_matches(words: list[str], text: str, marked: list[str]) -> None:
    spans = Query(words).spans(text)
    assert [text[start:end] for start, end in spans] == marked


@pytest.mark.parametrize(
    ("pattern", "text", "is_it"),
    [(r"e\d+$", "E42\nx", True), (r"E\d", "e4", False), (r"\Sx", "ax", True), (r"x*", "a", False)],
)
def test_a_regular_expression(pattern: str, text: str, is_it: bool) -> None:
    assert bool(Query([pattern], is_regex=True).spans(text)) == is_it


def test_what_is_no_regular_expression_is_refused() -> None:
    with pytest.raises(re.error):
        Query(["("], is_regex=True)


def test_of_a_large_file_only_what_may_match_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    many = json.dumps(entry(["nothing here " * 50])) + "\n"
    path.write_text(many * 2000 + json.dumps(entry(["a heron"])) + "\n" + many * 2000)
    with path.open("rb") as file:
        (line,) = Query(["HERON".lower()]).lines(file)
    assert said.by(line.entry) == [said.Said(said.CLAUDE, "a heron")]
