"""The table of what to do about each warning and error."""

import re

import pytest

from shim.cli import advice
from tests.support import sources


def test_every_message_that_code_can_print_has_advice() -> None:
    known = {message for entry in advice.everything() for message in entry.messages}
    assert [it for it in sorted(sources.messages()) if not _is_among(it, known)] == []


def test_there_is_no_advice_on_a_message_that_no_code_prints() -> None:
    printed = sources.messages()
    entries = advice.everything()
    stale = [
        m for it in entries for m in it.messages if not any(_is_among(p, {m}) for p in printed)
    ]
    assert stale == []


def test_every_entry_says_what_to_do() -> None:
    assert [entry.messages for entry in advice.everything() if not entry.what_to_do] == []


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("claude-shim: /s/sessions.json stays locked by another process: x (pid 7)", "hangs"),
        ("/s/x is damaged: it is empty; 2 mappings were recovered", "Nothing"),
        ("/s/x: Permission denied; this conversation is not recorded", "sudo"),
        ("NSED_ON_BUSY=x is none of wait, fork and fail: taken as unset", "Correct it"),
    ],
)
def test_a_line_that_was_printed_finds_its_advice(printed: str, words: str) -> None:
    found = advice.about(printed)
    assert found is not None
    assert words in found.what_to_do


def test_other_words_find_none() -> None:
    assert advice.about("how do I bake bread?") is None


def _is_among(printed: str, known: set[str]) -> bool:
    return any(re.fullmatch(advice._pattern(message), printed) for message in known)
