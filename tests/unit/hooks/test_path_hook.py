"""Where a tool result of another host is here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shim.hooks.path_hook import mapped

if TYPE_CHECKING:
    from pathlib import Path

THERE = "/home/other/.claude/projects/-work/U/tool-results/x.txt"


def event(tmp_path: Path, path: str) -> dict[str, Any]:
    given = {"file_path": path, "limit": 3}
    return {"transcript_path": str(tmp_path / "U.jsonl"), "tool_input": given}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    path = tmp_path / "U" / "tool-results" / "x.txt"
    path.parent.mkdir(parents=True)
    path.write_text("said at length")
    return path


def test_a_path_of_another_host_is_read_here(tmp_path: Path, here: Path) -> None:
    answer = mapped(event(tmp_path, THERE))
    assert answer == {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "updatedInput": {"file_path": str(here), "limit": 3},
        }
    }


def test_a_path_that_is_there_stays_as_it_is(tmp_path: Path, here: Path) -> None:
    other = tmp_path / "other" / "tool-results" / "x.txt"
    other.parent.mkdir(parents=True)
    other.touch()
    assert mapped(event(tmp_path, str(here))) is None
    assert mapped(event(tmp_path, str(other))) is None


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    "path",
    [
        "/elsewhere/tool-results/y.txt",
        "/elsewhere/x.txt",
        "/elsewhere/tool-results/../../U.jsonl",
        "/elsewhere/tool-results/",
    ],
)
def test_what_is_no_tool_result_here_is_left_alone(tmp_path: Path, path: str) -> None:
    (tmp_path / "U.jsonl").touch()
    assert mapped(event(tmp_path, path)) is None
