"""From facts to flags: each row of the table in `claude-shim help how-it-works`."""

import os

import pytest

from shim.base.session_key import SessionKey
from shim.call import plan
from shim.call.call import Call
from shim.claude import invocation
from shim.claude.cli_spec import CliSpec, built_in
from shim.claude.transcripts import Transcript

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
PATH = f"/home/me/.claude/projects/-work/{U}.jsonl"
HERE = Transcript(PATH, True, os.stat("/"))
ELSEWHERE = Transcript(PATH, False, os.stat("/"))
HAS_SNAPSHOT = CliSpec(
    built_in().text + "--system-prompt-snapshot --system-prompt-snapshot <value>\n",
    is_discovered=True,
)


def call(
    transcript: Transcript | None,
    plugins: list[str] | None = None,
    spec: CliSpec | None = None,
) -> Call:
    made = Call(SessionKey(b"room", b"agent"), invocation.Invocation(["-p"], spec or built_in()))
    made.session_id = U
    made.transcript = transcript
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


def test_a_fork_has_a_title_before_a_person() -> None:
    fork = call(ELSEWHERE)
    fork.title = "words (fork 6f2a)"
    assert plan.flags(fork) == ["--resume", PATH, "--name=words (fork 6f2a)"]


def test_what_is_resumed_has_the_system_prompt_of_this_call_and_what_begins_needs_no_word() -> None:
    off = ["--system-prompt-snapshot", "off"]
    assert plan.flags(call(HERE, spec=HAS_SNAPSHOT)) == [*off, "--resume", U]
    assert plan.flags(call(None, spec=HAS_SNAPSHOT)) == ["--session-id", U]
