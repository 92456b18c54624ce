"""Taking a conversation by a lease, and losing it by the first append that is refused."""

from __future__ import annotations

import asyncio
import os
import time
from typing import TYPE_CHECKING

import pytest

from shim.fleet import log
from shim.fleet.backend import Conflict, Unavailable
from shim.fleet.host import Host
from shim.fleet.log import Chunk, Held, Log
from shim.fleet.records import CLAIM, DATA, RELEASE
from tests.support.backend import MemoryBackend

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

A, B = Host("a", "host a", "1"), Host("b", "host b", "1")
U = "11111111-1111-4111-8111-111111111111"


@pytest.fixture
def backend() -> MemoryBackend:
    made = MemoryBackend()
    made.alive.update({"a": {}, "b": {}})
    return made


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_RETURNS_WITHIN", 0.0)


def run(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await story()

    asyncio.run(whole())


def test_a_conversation_is_taken_by_one_host_until_it_is_given_back(backend: MemoryBackend) -> None:
    async def story() -> None:
        of_a, of_b = Log(backend, U, A), Log(backend, U, B)
        await of_a.acquire(7, "one-shot")
        with pytest.raises(Held) as held:
            await of_b.acquire(8, "one-shot")
        assert held.value.by.record.holder.hostname == "host a"
        await of_a.append_data(Chunk("", 0, b"x"))
        await of_a.release()
        await of_b.acquire(8, "one-shot")
        assert (of_a.is_held, of_b.is_held, of_b.generation) == (False, True, 2)

    run(story)
    assert [it.record.kind for _, it in backend.stored] == [CLAIM, DATA, RELEASE, CLAIM]


def test_a_dead_host_is_taken_from_and_refused_when_it_wakes(backend: MemoryBackend) -> None:
    async def story() -> None:
        of_a, of_b = Log(backend, U, A), Log(backend, U, B)
        await of_a.acquire(7, "streaming")
        await backend.put_heartbeat("a", None)
        await of_b.acquire(8, "one-shot")
        with pytest.raises(Conflict):
            await of_a.append_data(Chunk("", 0, b"late"))
        assert not of_a.is_held

    run(story)
    assert DATA not in [it.record.kind for _, it in backend.stored]


def test_a_host_whose_sign_was_only_forgotten_keeps_what_it_has(backend: MemoryBackend) -> None:
    async def story() -> None:
        of_a, of_b = Log(backend, U, A), Log(backend, U, B)
        await of_a.acquire(7, "streaming")
        await backend.put_heartbeat("a", None)
        taking = asyncio.create_task(of_b.acquire(8, "one-shot"))
        await asyncio.sleep(0)
        await backend.put_heartbeat("a", {})
        with pytest.raises(Held):
            await taking

    run(story)


def test_another_life_of_this_hosts_daemon_takes_over_at_once(backend: MemoryBackend) -> None:
    async def story() -> None:
        await Log(backend, U, A).acquire(7, "streaming")
        again = Log(backend, U, Host("a", "host a", "2"))
        await again.acquire(7, "streaming")
        assert again.is_held

    run(story)


def test_what_was_stored_without_an_answer_is_stored_once(backend: MemoryBackend) -> None:
    async def story() -> None:
        ours = Log(backend, U, A)
        await ours.acquire(7, "one-shot")
        backend.loses_the_next_answer = True
        with pytest.raises(Unavailable):
            await ours.append_data(Chunk("", 0, b"one"))
        await ours.append_data(Chunk("", 3, b"two"))

    run(story)
    bodies = [it.record.body for _, it in backend.stored if it.record.kind == DATA]
    assert bodies == [b"one", b"two"]


def test_twenty_at_once_are_one_holder(backend: MemoryBackend) -> None:
    async def story() -> None:
        hosts = [Host(f"h{n}", f"host {n}", "1") for n in range(20)]
        backend.alive.update({host.host: {} for host in hosts})
        logs = [Log(backend, U, host) for host in hosts]
        await asyncio.gather(*(it.acquire(7, "one-shot") for it in logs), return_exceptions=True)
        assert sum(it.is_held for it in logs) == 1

    run(story)


@pytest.mark.parametrize("waits", [True, False])
def test_the_wait_for_a_dead_host_outlives_the_daemon_that_began_it(
    backend: MemoryBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    naps: list[float] = []

    async def nap(seconds: float) -> None:
        naps.append(seconds)
        if waits and len(naps) == 1:
            raise asyncio.CancelledError  # the daemon is killed

    monkeypatch.setattr(log, "_RETURNS_WITHIN", 3.0)
    us = Host("b", "host b", "1", str(tmp_path))

    async def story() -> None:
        await Log(backend, U, A).acquire(7, "streaming")
        await backend.put_heartbeat("a", None)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(asyncio, "sleep", nap)
            if waits:
                with pytest.raises(asyncio.CancelledError):
                    await Log(backend, U, us).acquire(8, "one-shot")
            for path in tmp_path.glob("silent-*"):
                os.utime(path, (time.time() - 2, time.time() - 2))
            await Log(backend, U, us).acquire(8, "one-shot")

    run(story)
    assert naps[-1] == (pytest.approx(1, abs=0.5) if waits else 3)
    assert list(tmp_path.glob("silent-*")) == []
