"""From facts to flags: each row of DESIGN.md's table."""

import os

import pytest

from shim.call import plan
from shim.claude.transcripts import Transcript

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
FORK = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
PATH = f"/home/me/.claude/projects/-work/{U}.jsonl"
HERE = Transcript(PATH, True, os.stat("/"))
ELSEWHERE = Transcript(PATH, False, os.stat("/"))


@pytest.mark.parametrize(
    ("transcript", "fork", "flags"),
    [
        (None, None, ["--session-id", U]),
        (HERE, None, ["--resume", U]),
        (ELSEWHERE, None, ["--resume", PATH]),
        (None, FORK, ["--session-id", FORK]),
        (HERE, FORK, ["--resume", U, "--fork-session", "--session-id", FORK]),
        (ELSEWHERE, FORK, ["--resume", PATH, "--fork-session", "--session-id", FORK]),
    ],
    ids=[
        *("none", "here", "elsewhere"),
        *("none, another's", "here, another's", "elsewhere, another's"),
    ],
)
def test_the_flags_start_resume_or_fork(
    transcript: Transcript | None, fork: str | None, flags: list[str]
) -> None:
    assert plan.flags(U, transcript, fork, None, False) == flags
    assert plan.flags(U, transcript, fork, "/plugin", False) == ["--plugin-dir", "/plugin", *flags]


def test_what_is_resumed_has_the_system_prompt_of_this_call_and_what_begins_needs_no_word() -> None:
    off = ["--system-prompt-snapshot", "off"]
    assert plan.flags(U, HERE, None, None, True) == [*off, "--resume", U]
    assert plan.flags(U, HERE, FORK, None, True)[:2] == off
    assert plan.flags(U, None, None, None, True) == ["--session-id", U]
