"""What a terminal was left for: jobs in the background, and their workers."""

import json
import os
import posix
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shim.claude import registry, turns

A, J = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(2))
START = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
Job = Callable[..., Path]


@pytest.fixture
def claude(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Claude's own directory."""
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(tmp_path))
    (tmp_path / "sessions").mkdir()
    return tmp_path


@pytest.fixture
def job(claude: Path) -> Job:
    """Makes the job that goes on under J."""

    def make(**state: Any) -> Path:
        path = claude / "jobs" / J[:8] / "state.json"
        path.parent.mkdir(parents=True)
        given = {"state": "working", "template": "bg", "sessionId": J, "tempo": "blocked"}
        path.write_text(json.dumps({**given, **state}))
        return path

    return make


def register(claude: Path, **entry: Any) -> None:
    """An entry of this process in claude's registry."""
    own = {"pid": os.getpid(), "procStart": START, **entry}
    (claude / "sessions" / f"{os.getpid()}.json").write_text(json.dumps(own))


def test_a_conversation_left_for_a_worker_that_is_to_start_is_taken(job: Job) -> None:
    job()
    assert registry.live_on(J) == registry.ABOUT_TO_START
    assert turns.is_answering(registry.ABOUT_TO_START)


@pytest.mark.parametrize("state", [{"state": "stopped"}, {"sessionId": A}])
def test_another_job_takes_no_conversation(job: Job, state: dict[str, str]) -> None:
    job(**state)
    assert registry.live_on(J) is None


def test_a_worker_that_never_starts_takes_none_for_long(job: Job) -> None:
    then = time.time() - 60
    os.utime(job(), (then, then))
    assert registry.live_on(J) is None


def test_a_worker_that_was_killed_takes_none(claude: Path, job: Job) -> None:
    job()
    register(claude, sessionId=J, jobId=J[:8], procStart="1")
    assert registry.live_on(J) is None


def test_a_worker_that_runs_is_named(claude: Path, job: Job) -> None:
    job()
    register(claude, sessionId=J, jobId=J[:8])
    assert registry.live_on(J) == os.getpid()


@pytest.mark.parametrize(
    ("status", "flags", "tempo", "answers"),
    [
        ("busy", [], "active", True),
        ("idle", [], "blocked", False),
        ("idle", ["--reply-on-resume"], "blocked", True),
        ("idle", ["--reply-on-resume"], "active", True),
        ("idle", ["--reply-on-resume"], "idle", False),
        ("waiting", ["--reply-on-resume"], "blocked", False),
    ],
)
def test_a_worker_answers_the_turn_it_was_left(
    claude: Path, job: Job, status: str, flags: list[str], tempo: str, answers: bool
) -> None:
    job(respawnFlags=flags, tempo=tempo)
    register(claude, sessionId=J, jobId=J[:8], kind="bg", status=status)
    assert turns.is_answering(os.getpid()) is answers


def test_what_was_left_for_a_job_is_known_after_a_kill(claude: Path) -> None:
    register(claude, sessionId=A, parkedJobId=J[:8], procStart="1")
    assert registry.parked_on(J[:8]) == A
    assert registry.parked_on("another") is None
