"""Whether a claude is in the middle of a turn."""

import json
import os
import posix
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from shim.claude import turns
from tests.support.real_claude import wait_until

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
PROMPT = {"type": "user", "uuid": "p", "message": {"role": "user", "content": "hello"}}
RESULT = {"type": "user", "message": {"content": [{"type": "tool_result", "content": "x"}]}}
INTERRUPTED = {"type": "user", "message": {"content": [{"text": "[Request interrupted by user]"}]}}


def answer(stop_reason: str | None, uuid: str = "a") -> dict[str, Any]:
    return {"type": "assistant", "uuid": uuid, "message": {"stop_reason": stop_reason}}


ANSWER_OF_P = {**answer("end_turn"), "parentUuid": "s"}


def written(path: Path, *entries: dict[str, Any]) -> str:
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    return str(path)


@pytest.mark.parametrize(
    ("entries", "ended"),
    [
        ([], None),
        ([{"type": "queue-operation"}], None),
        ([PROMPT], False),
        ([PROMPT, answer("tool_use")], False),
        ([PROMPT, answer("tool_use"), RESULT], False),
        ([PROMPT, answer(None)], False),
        ([PROMPT, answer("end_turn")], True),
        ([PROMPT, answer("end_turn"), {"type": "last-prompt"}], True),
        ([PROMPT, answer("end_turn"), PROMPT], False),
        ([PROMPT, answer("end_turn"), {**PROMPT, "isSidechain": True}], True),
        ([PROMPT, INTERRUPTED], True),
        ([ANSWER_OF_P, {"uuid": "s", "parentUuid": "p"}, PROMPT], True),
        ([ANSWER_OF_P, PROMPT, {**PROMPT, "uuid": "q", "parentUuid": "a"}], False),
        ([{**PROMPT, "parentUuid": "p"}], False),
    ],
)
def test_a_turn_has_ended_with_its_answer(
    tmp_path: Path, entries: list[dict[str, Any]], ended: bool | None
) -> None:
    assert turns.has_ended(written(tmp_path / "t.jsonl", *entries)) is ended


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(tmp_path))
    (tmp_path / "sessions").mkdir()
    (tmp_path / "projects" / "p").mkdir(parents=True)
    return tmp_path


def register(config: Path, **fields: Any) -> None:
    """Make this very process a claude of the registry."""
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    entry = {"pid": os.getpid(), "procStart": start, "sessionId": U, **fields}
    (config / "sessions" / f"{fields.get('file', os.getpid())}.json").write_text(json.dumps(entry))


@pytest.mark.parametrize(
    ("status", "answering"), [("busy", True), ("idle", False), ("waiting", False), ("shell", False)]
)
def test_the_registry_tells_and_who_waits_for_a_person_has_ended(
    config: Path, status: str, answering: bool
) -> None:
    register(config, status=status)
    assert turns.is_answering(os.getpid()) is answering


def test_the_worker_says_whether_a_conversation_in_the_background_is_busy(config: Path) -> None:
    register(config, status="busy", parkedJobId="j")  # it stays so for ever
    assert turns.is_answering(os.getpid())
    register(config, status="idle", jobId="j", file="worker")
    assert not turns.is_answering(os.getpid())


def test_without_a_status_the_transcript_tells(config: Path) -> None:
    register(config)
    transcript = config / "projects" / "p" / f"{U}.jsonl"
    written(transcript, PROMPT, answer("end_turn"))
    assert not turns.is_answering(os.getpid())
    written(transcript, PROMPT)
    assert turns.is_answering(os.getpid())


@pytest.mark.parametrize(("ago", "answering"), [(1, True), (60, False)])
def test_one_without_a_turn_is_starting_for_some_seconds_after_its_registration(
    config: Path, ago: float, answering: bool
) -> None:
    register(config, startedAt=(time.time() - ago) * 1000)
    assert turns.is_answering(os.getpid()) is answering


def test_one_that_is_not_registered_yet_is_starting_however_long_it_waited_in_line(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = time.time() + 60
    monkeypatch.setattr(time, "time", lambda: later)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as young:
        assert turns.is_answering(young.pid)
        young.kill()
    assert not turns.is_answering(young.pid)
    assert config.exists()


def test_whose_stdin_has_ended_ends_by_itself() -> None:
    program = "import signal; print(flush=True); signal.pause()"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdin
    assert child.stdout
    try:
        child.stdout.readline()
        assert not turns.ends_by_itself(child.pid)
        child.stdin.close()
        wait_until(lambda: turns.ends_by_itself(child.pid), "its stdin has ended")
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
