"""Messages on a terminal: they fit it, and no control character of theirs reaches it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.claude.said import CLAUDE, NOTE, RESULT, TOOL, USER, Said
from shim.cli.message_view import View
from shim.cli.reading import Utterance
from shim.cli.tables import width
from shim.cli.wrapping import wrapped

HOSTILE = st.text("ab *#`-1.\t漢\n\r\x1b\x07\x9b\u202e\u200b\U0001f600\u0301", max_size=60)
WHO = st.sampled_from([USER, CLAUDE, TOOL, RESULT, NOTE])


@pytest.fixture(autouse=True)
def _no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")


def shown(*said: tuple[str, str], cells: int | None = 40, session_id: str = "own") -> list[str]:
    messages = [
        Utterance(Said(who, text), None, str(number), session_id, False)
        for number, (who, text) in enumerate(said)
    ]
    return list(View("own", cells).lines(messages))


@given(said=st.lists(st.tuples(WHO, HOSTILE), max_size=5), cells=st.integers(24, 60))
def test_every_line_fits_and_can_be_printed(said: list[tuple[str, str]], cells: int) -> None:
    lines = shown(*said, cells=cells)
    assert all(width(line) <= cells and line.isprintable() for line in lines), lines


@given(said=st.lists(st.tuples(WHO, HOSTILE), max_size=5))
def test_markdown_has_no_control_character(said: list[tuple[str, str]]) -> None:
    assert all(line.isprintable() for line in shown(*said, cells=None))


def test_who_speaks_is_said_once_and_calls_stand_between_the_words() -> None:
    assert shown(
        *((USER, "Go"), (CLAUDE, "I **will**."), (TOOL, "Bash  make"), (TOOL, "Read  x")),
        *((CLAUDE, "Done."), (CLAUDE, "Well."), (NOTE, "interrupted"), (USER, "Stop")),
    ) == [
        *("user", "  Go", "", "claude", "  I will.", "  → Bash  make", "  → Read  x", "  Done."),
        *("", "  Well.", "", "  -- interrupted", "", "user", "  Stop"),
    ]


def test_what_was_said_in_a_fork_is_marked() -> None:
    assert shown((USER, "a"), session_id="0123456789")[0] == "user  from fork 01234567"


def test_code_is_broken_where_the_screen_ends_and_text_between_words() -> None:
    text = "# Title\n\n- an item of a list that is long\n```\n" + "x" * 30 + "\n```\nend"
    assert shown((CLAUDE, text), cells=26) == [
        *("claude", "  Title", "", "  - an item of a list that", "    is long"),
        *("    " + "x" * 22, "    " + "x" * 8, "  end"),
    ]


def test_a_fence_is_longer_than_those_within() -> None:
    assert shown((RESULT, "a\n````\nb"), cells=None)[2:] == ["`````", "a", "````", "b", "`````"]


@pytest.mark.parametrize(
    ("line", "pieces"),
    [
        ("a b c", ["a b c"]),
        ("word word word", ["word word", "word"]),
        ("x" * 12, ["x" * 10, "x" * 2]),
        ("- one two three", ["- one two", "  three"]),
        ("漢" * 7, ["漢" * 5, "漢" * 2]),
        ("aa 漢漢漢漢漢漢", ["aa 漢漢漢", "漢漢漢"]),
        (" " * 12 + "x", ["", "  x"]),
    ],
)
def test_wrapping(line: str, pieces: list[str]) -> None:
    assert [piece.rstrip() for piece in wrapped(line, 10)] == [it.rstrip() for it in pieces]
