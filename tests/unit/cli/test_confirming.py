"""Who is live on what a command changes, and how long it waits for them."""

import os
import posix
import signal
import time
from pathlib import Path

import pytest

from shim.base.session_key import SessionKey
from shim.claude import registry
from shim.cli import confirming
from shim.locks import live_claudes
from shim.locks.live_claudes import HeldLock, HeldLocks
from shim.locks.record_lock import Lock, conversation_offset, key_offset, open_lock_file

KEY = ("r", "a")
U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
V = "7f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c12"


@pytest.fixture(autouse=True)
def nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(tmp_path / "config"))


class Holders:
    """Who holds the lock, each time somebody looks; the last one stays."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *seen: HeldLock | None) -> None:
        self.looks = 0
        self._seen = seen
        monkeypatch.setattr(live_claudes, "held_locks", self._look)

    def _look(self, _: str) -> HeldLocks:
        holder = self._seen[min(self.looks, len(self._seen) - 1)]
        self.looks += 1
        return _Of(holder)


class _Of(HeldLocks):
    def __init__(self, holder: HeldLock | None) -> None:
        self._holder = holder

    def for_key(self, room: str, agent: str) -> HeldLock | None:
        return self._holder


def test_nobody_is_live_where_nothing_runs(tmp_path: Path) -> None:
    assert confirming.who_is_live(str(tmp_path), [KEY], [U]) == []


def test_a_one_shot_claude_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    one_shot = HeldLock(posix.getpid(), is_long_running=False)
    holders = Holders(monkeypatch, one_shot, one_shot, one_shot, None)
    assert confirming.who_is_live("", [KEY]) == []
    assert holders.looks == 4


def test_a_one_shot_claude_that_does_not_end_is_named_after_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(confirming, "PATIENCE", 0.2)
    Holders(monkeypatch, HeldLock(posix.getpid(), is_long_running=False))
    started = time.monotonic()
    (claude,) = confirming.who_is_live("", [KEY])
    assert time.monotonic() - started > 0.2
    assert str(claude) == f"claude {posix.getpid()} (one-shot) is live on room 'r', agent 'a'"


def test_a_long_running_claude_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    holders = Holders(monkeypatch, HeldLock(posix.getpid(), is_long_running=True))
    (claude,) = confirming.who_is_live("", [KEY])
    assert (holders.looks, claude.kind) == (1, "interactive")


def test_a_claude_that_the_system_does_not_show_is_named_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Holders(monkeypatch, HeldLock(0, is_long_running=True))
    monkeypatch.setattr(live_claudes, "process", lambda *_: None)
    (claude,) = confirming.who_is_live("", [KEY])
    assert str(claude).startswith("claude in another container (streaming or interactive) is live")


def test_only_locks_of_the_keys_in_question_count(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    holder = os.fork()
    if not holder:  # to a process its own locks are none
        file = open_lock_file(str(tmp_path))
        Lock(file, key_offset("r", "other")).try_acquire(is_long_running=True)
        Lock(file, conversation_offset(U)).try_acquire(is_long_running=True)
        os.write(writing, b"x")
        signal.pause()
    try:
        os.read(reading, 1)
        assert confirming.who_is_live(str(tmp_path), [KEY]) == []
        (claude,) = confirming.who_is_live(str(tmp_path), [KEY, ("r", "other")])
        assert (claude.pid, claude.target) == (holder, "room 'r', agent 'other'")
        (claude,) = confirming.who_is_live(str(tmp_path), [KEY], [U])
        assert (claude.pid, claude.target) == (holder, f"conversation {U}")
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)
        os.close(reading)
        os.close(writing)


def test_claudes_without_the_lock_are_found_by_room_and_agent_and_by_conversation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "conversations", lambda: {11: V, 12: U, 13: V})
    monkeypatch.setattr(live_claudes, "key_of", {11: SessionKey(b"r", b"a")}.get)
    monkeypatch.setattr(
        live_claudes,
        "process",
        lambda *_: live_claudes.Process(0, live_claudes.STREAMING, 0, 0, None),
    )
    found = confirming.who_is_live(str(tmp_path), [KEY], [U])
    assert [(claude.pid, claude.target) for claude in found] == [
        (11, "room 'r', agent 'a'"),
        (12, f"conversation {U}"),
    ]
