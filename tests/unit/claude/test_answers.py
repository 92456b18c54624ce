"""Whether the answer that a hook was told of is in the transcript yet."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from shim.claude import answers

if TYPE_CHECKING:
    from pathlib import Path


def line(kind: str, *blocks: dict[str, Any]) -> str:
    return json.dumps({"type": kind, "message": {"role": kind, "content": list(blocks)}}) + "\n"


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


PROMPT, ANSWER = line("user", text("hi")), line("assistant", text("hello "))
RESULT = line("user", {"type": "tool_result", "content": "x"})


def end(tmp_path: Path, written: str, answer: str, after: int = 0) -> int | None:
    path = tmp_path / "x.jsonl"
    path.write_text(written)
    return answers.end_of(str(path), answer, after)


def test_the_answer_is_found_where_its_line_ends(tmp_path: Path) -> None:
    assert end(tmp_path, PROMPT + ANSWER, "hello") == len(PROMPT + ANSWER)
    assert end(tmp_path, PROMPT + ANSWER + '{"type":"x"}\n', " hello\n") == len(PROMPT + ANSWER)


def test_it_is_not_there_while_its_line_is_missing_or_torn(tmp_path: Path) -> None:
    assert end(tmp_path, PROMPT, "hello") is None
    assert end(tmp_path, PROMPT + ANSWER[:-1], "hello") is None
    assert end(tmp_path, PROMPT + ANSWER, "other") is None
    assert answers.end_of(str(tmp_path / "missing"), "hello", 0) is None


def test_the_same_words_of_an_earlier_turn_are_another_answer(tmp_path: Path) -> None:
    assert end(tmp_path, PROMPT + ANSWER + PROMPT, "hello") is None
    assert end(tmp_path, PROMPT + ANSWER, "hello", after=len(PROMPT + ANSWER)) is None


def test_a_tools_result_between_is_no_other_turn(tmp_path: Path) -> None:
    written = PROMPT + ANSWER + RESULT
    assert end(tmp_path, written, "hello") == len(PROMPT + ANSWER)


def test_of_an_answer_in_parts_the_last_one_tells(tmp_path: Path) -> None:
    assert end(tmp_path, PROMPT + line("assistant", text("part two")), "part one\npart two")
