"""From facts to flags: each row of the table of help how-it-works."""

import os

import pytest

from shim.call import plan
from shim.claude.transcripts import Transcript

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
FORK = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
PATH = f"/home/me/.claude/projects/-work/{U}.jsonl"
HERE = Transcript(PATH, True, os.stat("/"))
ELSEWHERE = Transcript(PATH, False, os.stat("/"))
AS_FORK = ["--fork-session", "--session-id", FORK]


@pytest.mark.parametrize(
    ("transcript", "flags"),
    [
        (None, ["--session-id", U]),
        (HERE, ["--resume", U]),
        (ELSEWHERE, ["--resume", PATH]),
    ],
    ids=["none", "here", "elsewhere"],
)
def test_the_flags_start_or_resume(transcript: Transcript | None, flags: list[str]) -> None:
    assert plan.flags(U, transcript, [], False) == flags
    assert plan.flags(U, transcript, ["/plugin"], False) == ["--plugin-dir", "/plugin", *flags]


@pytest.mark.parametrize(
    ("transcript", "since", "flags"),
    [
        (None, None, ["--session-id", FORK]),
        (HERE, None, ["--resume", U, *AS_FORK]),
        (ELSEWHERE, None, ["--resume", PATH, *AS_FORK]),
        (HERE, "message", ["--resume", U, *AS_FORK, "--resume-session-at", "message"]),
    ],
    ids=["none", "here", "elsewhere", "in the middle of a turn"],
)
def test_the_flags_go_on_with_a_copy(
    transcript: Transcript | None, since: str | None, flags: list[str]
) -> None:
    assert plan.fork(U, transcript, FORK, since, [], False) == flags
    with_plugin = plan.fork(U, transcript, FORK, since, ["/plugin"], False)
    assert with_plugin == ["--plugin-dir", "/plugin", *flags]


def test_what_is_resumed_has_the_system_prompt_of_this_call_and_what_begins_needs_no_word() -> None:
    off = ["--system-prompt-snapshot", "off"]
    assert plan.flags(U, HERE, [], True) == [*off, "--resume", U]
    assert plan.fork(U, HERE, FORK, None, [], True)[:2] == off
    assert plan.flags(U, None, [], True) == ["--session-id", U]
