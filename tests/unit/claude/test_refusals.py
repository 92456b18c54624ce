"""Conversations that the API refuses."""

from pathlib import Path

import pytest

from shim.claude import refusals
from tests.support.transcripts import Writer

TOO_LONG = "API Error: 400 prompt is too long"
BUSY = "API Error: 529 overloaded"


@pytest.fixture
def writer(tmp_path: Path) -> Writer:
    writer = Writer(tmp_path / "projects" / "p" / "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11.jsonl")
    writer.ask("remember heron")
    writer.answer("heron")
    return writer


def fail(writer: Writer, prompt: str, error: str) -> None:
    asked = writer.ask(prompt)
    block = {"type": "text", "text": error}
    writer.write(writer.assistant(asked, "stop_sequence", block, isApiErrorMessage=True))


def error(writer: Writer) -> str | None:
    return refusals.error(str(writer.path))


def test_a_conversation_whose_last_two_turns_failed_has_the_last_error(writer: Writer) -> None:
    fail(writer, "one", BUSY)
    fail(writer, "two", TOO_LONG)
    assert error(writer) == TOO_LONG


def test_one_turn_may_fail(writer: Writer) -> None:
    fail(writer, "one", BUSY)
    assert error(writer) is None


def test_an_answer_between_two_errors_or_after_them_ends_it(writer: Writer) -> None:
    fail(writer, "one", BUSY)
    writer.ask("two")
    writer.answer("two")
    fail(writer, "three", BUSY)
    assert error(writer) is None
    fail(writer, "four", BUSY)
    writer.ask("five")
    writer.answer("five")
    assert error(writer) is None


def test_a_turn_that_is_under_way_changes_nothing(writer: Writer) -> None:
    fail(writer, "one", TOO_LONG)
    fail(writer, "two", TOO_LONG)
    writer.ask("three")
    assert error(writer) == TOO_LONG


def test_a_conversation_that_was_compacted_since_is_not_refused(writer: Writer) -> None:
    fail(writer, "one", TOO_LONG)
    fail(writer, "two", TOO_LONG)
    writer.write(writer.row("system", writer.leaf(), subtype="compact_boundary"))
    assert error(writer) is None


def test_prompts_longer_than_a_glance_hide_nothing(writer: Writer) -> None:
    fail(writer, "one" * 100_000, TOO_LONG)
    fail(writer, "two" * 100_000, TOO_LONG)
    assert error(writer) == TOO_LONG


def test_a_prompt_that_quotes_an_error_is_none(writer: Writer) -> None:
    for number in range(3):
        writer.ask(f'{number} "isApiErrorMessage":true')
        writer.answer(BUSY)
    assert error(writer) is None
