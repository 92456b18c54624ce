"""What nobody has used for longer than is kept is forgotten, and nothing else."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest

from shim.fleet import expiry, log, rooms
from shim.fleet.host import Host
from shim.fleet.log import Log
from tests.support.backend import MemoryBackend

if TYPE_CHECKING:
    from pathlib import Path

    from shim.fleet.records import Record

U, V = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
A, B = Host("a", "host a", "1"), Host("b", "host b", "1")
DAY = 86400.0
MOVED = "2026-01-02T03:04:05Z"


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> MemoryBackend:
    """One that has two conversations, each of a room, of which one was used 100 days ago."""
    monkeypatch.setattr(log, "_RETURNS_WITHIN", 0.0)
    made = MemoryBackend()
    made.alive.update(a={}, b={})
    for session_id, name in ((U, "old"), (V, "new")):
        asyncio.run(use(made, session_id, A))
        value = {"room": name, "agent": "claude", "session_id": session_id, "moved": MOVED}
        asyncio.run(made.put_room(rooms.key(name, "claude"), value, 0))
        made.memory.clock += 100 * DAY
    return made


async def use(backend: MemoryBackend, session_id: str, host: Host, gives_back: bool = True) -> None:
    its = Log(backend, session_id, host)
    await its.acquire(1, "one-shot")
    if gives_back:
        await its.release()


def conversations(backend: MemoryBackend) -> set[str]:
    return {name for name, _ in backend.stored}


def forget(backend: MemoryBackend, days: float) -> set[str]:
    return asyncio.run(expiry.forget(backend, B, days))


def test_what_is_too_old_goes_with_its_room(backend: MemoryBackend) -> None:
    assert forget(backend, 150) == {U}

    assert conversations(backend) == {V}
    assert [it["room"] for it in asyncio.run(backend.rooms())] == ["new"]


def test_nothing_goes_that_is_young_enough(backend: MemoryBackend) -> None:
    assert forget(backend, 201) == set()

    assert conversations(backend) == {U, V}
    assert len(asyncio.run(backend.rooms())) == 2


def test_what_a_living_host_holds_stays_however_old_it_is(backend: MemoryBackend) -> None:
    asyncio.run(use(backend, U, A, gives_back=False))
    backend.memory.clock += 400 * DAY

    assert forget(backend, 150) == {V}

    assert conversations(backend) == {U}


def test_what_a_dead_host_held_goes(backend: MemoryBackend) -> None:
    asyncio.run(use(backend, U, A, gives_back=False))
    backend.memory.clock += 400 * DAY
    del backend.alive["a"]

    assert forget(backend, 150) == {U, V}


def test_what_is_used_while_it_is_being_forgotten_stays(
    backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = backend.append
    is_used = []

    async def appended(conversation: str, record: Record, after: int, timeout: float) -> int:
        if not is_used and record.holder.host not in "ab":
            is_used.append(conversation)
            await use(backend, conversation, A)
        return await append(conversation, record, after, timeout)

    monkeypatch.setattr(backend, "append", appended)

    assert forget(backend, 150) == set()
    assert is_used == [U]
    assert conversations(backend) == {U, V}


def test_a_forgotten_conversation_can_be_begun_anew(backend: MemoryBackend) -> None:
    forget(backend, 150)

    asyncio.run(use(backend, U, A))

    assert conversations(backend) == {U, V}


def test_it_is_done_once_a_day_and_not_on_the_first(tmp_path: Path) -> None:
    assert not expiry.is_due(str(tmp_path))
    stamp = tmp_path / "retention"
    os.utime(stamp, (stamp.stat().st_mtime - DAY - 1,) * 2)

    assert [expiry.is_due(str(tmp_path)) for _ in range(2)] == [True, False]


def test_where_nothing_is_kept_claudes_own_period_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posix.environ", {b"HOME": bytes(tmp_path), b"NSED_KEEP_DAYS": b"0"})

    assert expiry.days() == 30
