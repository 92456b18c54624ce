"""Which conversation `/clear` began, as the transcripts of a project tell."""

import json
import os
from pathlib import Path

import pytest

from shim.base.times import timestamp
from shim.claude import clearing

U, V, W = (f"00000000-0000-4000-8000-00000000000{n}" for n in range(3))
MOMENT = 1_800_000_000.0
CAVEAT = "<local-command-caveat>Caveat: not said to you.</local-command-caveat>"
CLEAR = "<command-name>/clear</command-name>\n<command-message>clear</command-message>"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    write(tmp_path, U, "one")
    return tmp_path


def write(project: Path, session_id: str, *said: object, after: float = 10.0) -> Path:
    """A transcript whose first user's line is of so many seconds after the moment."""
    at = timestamp(int((MOMENT + after) * 1e9)).decode()
    lines: list[dict[str, object]] = [{"type": "mode"}, {"type": "user", "message": None}]
    lines += [{"type": "user", "timestamp": at, "message": {"content": it}} for it in said]
    path = project / f"{session_id}.jsonl"
    path.write_text("no JSON\n" + "".join(json.dumps(line) + "\n" for line in lines))
    os.utime(path, (MOMENT + after + 1, MOMENT + after + 1))
    return path


def begun(project: Path, known: set[str] | None = None) -> str | None:
    return clearing.begun_since(str(project / f"{U}.jsonl"), MOMENT, known or {U})


def test_what_clear_began_is_found(project: Path) -> None:
    write(project, V, CAVEAT, CLEAR, "two")
    assert begun(project) == V


def test_of_several_none_is(project: Path) -> None:
    write(project, V, CAVEAT, CLEAR, "two")
    write(project, W, CAVEAT, CLEAR, "three")
    assert begun(project) is None
    assert begun(project, {U, W}) == V


@pytest.mark.parametrize(
    "said",
    [
        ("two",),
        ("two", CLEAR),
        (CAVEAT, "<command-name>/model</command-name>", CLEAR),
        (CAVEAT,),
        (),
    ],
)
def test_a_conversation_that_begins_otherwise_is_another(
    project: Path, said: tuple[object, ...]
) -> None:
    write(project, V, *said)
    assert begun(project) is None


def test_what_was_begun_before_the_moment_is_another(project: Path) -> None:
    path = write(project, V, CAVEAT, CLEAR, "two", after=-10)
    os.utime(path, (MOMENT + 5, MOMENT + 5))
    assert begun(project) is None


def test_a_fifo_is_not_waited_for(project: Path) -> None:
    os.mkfifo(project / f"{V}.jsonl")
    assert begun(project) is None
