"""Whether two files of one session id are one conversation."""

import json
from pathlib import Path

import pytest

from shim.claude import lineage


def line(own: str | None, before: str | None = None, **more: object) -> str:
    entry = {"parentUuid": before, "type": "user", "message": {"content": "hi"}, **more}
    return json.dumps(entry | ({"uuid": own} if own else {}), separators=(",", ":")) + "\n"


def of(tmp_path: Path, text: str) -> lineage.Lineage:
    path = tmp_path / "x.jsonl"
    path.write_text(text)
    return lineage.read(str(path))


@pytest.mark.parametrize(
    ("one", "other", "are_one", "has_all"),
    [
        (line("a"), line("a"), True, True),
        (line("a") + line("b", "a"), line("a"), True, True),
        (line("a"), line("a") + line("b", "a"), True, False),
        (line("a"), line("b", "a"), True, False),  # goes on after a clean-up
        (line("a"), line("b"), False, False),
        (line("a"), line("b", "c"), False, False),
        (line(None), line(None), True, True),  # lines without a name are their own
        (line("a"), '{"type":"custom-title","sessionId":"x"}\n', False, True),
        (line("a"), "", False, True),
        # a name that a tool was given is none of the conversation's
        (line("a", toolUseResult={"uuid": "x"}), line("b", toolUseResult={"uuid": "x"}), 0, False),
        (line("a", text='"uuid":"b"'), line("b"), False, False),
        (line("a") + '{"uuid":"torn', line("a"), True, True),
    ],
)
def test_what_two_transcripts_have_in_common(
    tmp_path: Path, one: str, other: str, are_one: bool, has_all: bool
) -> None:
    first, second = of(tmp_path, one), of(tmp_path, other)
    assert first.are_one_with(second) == second.are_one_with(first) == bool(are_one)
    assert first.has_all_of(second) == has_all
