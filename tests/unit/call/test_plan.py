"""From facts to flags: each row of the table in `claude-shim help how-it-works`."""

import os

import pytest

from shim.base.session_key import SessionKey
from shim.call import plan
from shim.call.call import Call, Fork
from shim.claude import invocation
from shim.claude.cli_spec import CliSpec, built_in
from shim.claude.transcripts import Transcript

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
FORK = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
PATH = f"/home/me/.claude/projects/-work/{U}.jsonl"
HERE = Transcript(PATH, True, os.stat("/"))
ELSEWHERE = Transcript(PATH, False, os.stat("/"))
HAS_SNAPSHOT = CliSpec(
    built_in().text + "--system-prompt-snapshot --system-prompt-snapshot <value>\n",
    is_discovered=True,
)
AS_FORK = ["--fork-session", "--session-id", FORK]


def call(
    transcript: Transcript | None,
    fork: Fork | None = None,
    plugins: list[str] | None = None,
    spec: CliSpec | None = None,
) -> Call:
    made = Call(SessionKey(b"room", b"agent"), invocation.Invocation(["-p"], spec or built_in()))
    made.session_id = U
    made.transcript = transcript
    made.fork = fork
    made.plugins = plugins or []
    return made


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
    assert plan.flags(call(transcript)) == flags
    with_plugin = plan.flags(call(transcript, plugins=["/plugin"]))
    assert with_plugin == ["--plugin-dir", "/plugin", *flags]


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
def test_the_flags_fork(transcript: Transcript | None, since: str | None, flags: list[str]) -> None:
    assert plan.flags(call(transcript, Fork(FORK, since))) == flags
    with_plugin = plan.flags(call(transcript, Fork(FORK, since), ["/plugin"]))
    assert with_plugin == ["--plugin-dir", "/plugin", *flags]


def test_what_is_resumed_has_the_system_prompt_of_this_call_and_what_begins_needs_no_word() -> None:
    off = ["--system-prompt-snapshot", "off"]
    assert plan.flags(call(HERE, spec=HAS_SNAPSHOT)) == [*off, "--resume", U]
    assert plan.flags(call(HERE, Fork(FORK), spec=HAS_SNAPSHOT))[:2] == off
    assert plan.flags(call(None, spec=HAS_SNAPSHOT)) == ["--session-id", U]
