"""How a page of the manual reads in a terminal."""

import posix

import pytest

from shim.cli import pages


@pytest.fixture(autouse=True)
def _no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"NO_COLOR", b"1")


def lines(markdown: str, cells: int = 40) -> list[str]:
    return list(pages.rendered(markdown, cells))


def test_a_paragraph_is_wrapped_anew() -> None:
    assert lines("One of\n**these** is said by a\n[page](https://x.org).", 30) == [
        "  One of these is said by a",
        "  page (https://x.org).",
    ]


def test_an_item_of_a_list_hangs() -> None:
    assert lines("Text:\n\n- one that is\n  longer than a line\n- two", 24) == [
        "  Text:",
        "",
        "  - one that is longer",
        "    than a line",
        "  - two",
    ]


def test_code_stays_as_it_is() -> None:
    code = "a  |  b   " + "x" * 50
    assert lines(f"```sh\n{code}\n\n# no heading\n```") == [f"    {code}", "", "    # no heading"]


def test_what_is_given_to_a_block_is_not_shown() -> None:
    assert lines("a\n\n<!-- given\nclaude-shim install\n-->\n\nb") == ["  a", "", "  b"]


TABLE = "| code | meaning |\n|---|---|\n| `a \\| b` | it is done, and nothing more |\n| 2 | no |"


def test_a_table_that_fits_is_aligned() -> None:
    assert lines(TABLE, 60) == [
        "  code     meaning",
        "  `a | b`  it is done, and nothing more",
        "  2        no",
    ]


def test_the_widest_column_is_wrapped_where_it_does_not_fit() -> None:
    assert lines(TABLE, 36) == [
        "  code     meaning",
        "  `a | b`  it is done, and nothing",
        "           more",
        "  2        no",
    ]


def test_several_columns_are_wrapped_where_one_is_not_enough() -> None:
    words = "one word and another one again"
    assert lines(f"| a | b |\n|---|---|\n| {words} | {words} |", 56) == [
        "  a                         b",
        "  one word and another one  one word and another one",
        "  again                     again",
    ]


def test_a_table_becomes_records_where_that_would_be_too_narrow() -> None:
    assert lines(TABLE, 26) == [
        "  `a | b`",
        "    it is done, and",
        "    nothing more",
        "  2",
        "    no",
    ]
