"""Hosts that write through random failures of three servers: one log, whatever fails."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from typing import TYPE_CHECKING

import pytest

from shim.fleet.backend import Conflict, Unavailable
from shim.fleet.host import Host
from shim.fleet.jetstream import STREAM, JetStream
from shim.fleet.log import Chunk, Held, Log
from tests.support.history import Append, History
from tests.support.meanwhile import meanwhile
from tests.support.nats_proxied import SERVERS, ProxiedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from shim.fleet.backend import Stored
    from shim.fleet.records import Record

HOSTS = 4
CONVERSATIONS = [f"{n}1111111-1111-4111-8111-111111111111" for n in range(2)]
FAULTS, FEW = 1000, 10
KILLS, FEW_KILLS = 30, 2
# Seconds for a cluster to be of use again, at twenty times the load.
TIMEOUT = 240.0


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProxiedCluster]:
    with ProxiedCluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


class Recorded(JetStream):
    """A host's backend, of which all appends go into the histories."""

    def __init__(self, url: str, histories: dict[str, History]) -> None:
        super().__init__(url, "")
        self.histories = histories

    async def append(self, conversation: str, record: Record, after: int, timeout: float) -> int:
        clock = asyncio.get_running_loop().time
        known = self.histories[conversation].appends
        # What is sent again is the same append: it began when it was sent first.
        its = next((it for it in known if it.record is record), None)
        if its is None:
            its = Append(record, clock())
            known.append(its)
        its.sequence = await super().append(conversation, record, after, timeout)
        its.ended = clock()
        return its.sequence


class Writers:
    """Hosts that take conversations in turn, read them, write to them and give them back."""

    def __init__(self, url: str, chance: random.Random) -> None:
        self.histories = {name: History() for name in CONVERSATIONS}
        self.engines = [Recorded(url, self.histories) for _ in range(HOSTS)]
        self._chance = chance

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with meanwhile(*(backend.run() for backend in self.engines)):
            async with meanwhile(*(self._write(n) for n in range(HOSTS))):
                yield
            await self._check()

    async def until_all_is_well(self) -> None:
        """Wait until something more is acknowledged of each conversation."""
        before = {name: self._acknowledged(name) for name in CONVERSATIONS}
        deadline = time.monotonic() + TIMEOUT
        while any(self._acknowledged(name) < before[name] + 2 for name in CONVERSATIONS):
            assert time.monotonic() < deadline, [backend.why for backend in self.engines]
            await asyncio.sleep(0.05)

    def _acknowledged(self, name: str) -> int:
        return sum(bool(it.sequence) for it in self.histories[name].appends)

    async def _write(self, number: int) -> None:
        backend, this_host = self.engines[number], Host(f"h{number}", f"host {number}", "1")
        while True:
            name = self._chance.choice(CONVERSATIONS)
            with contextlib.suppress(Unavailable, Conflict, Held):
                await backend.put_heartbeat(this_host.host, {"hostname": this_host.hostname})
                await self._turn(Log(backend, name, this_host))
            await asyncio.sleep(self._chance.uniform(0, 0.05))

    async def _turn(self, log: Log) -> None:
        await log.acquire(1, "one-shot")
        until = log.sequence
        self.histories[log.conversation].reads.append([it async for it in log.records(0, until)])
        for offset in range(self._chance.randrange(1, 4)):
            while True:
                try:
                    await log.append_data(Chunk("", offset, b"x"), timeout=1.0)
                    break
                except Unavailable:
                    await asyncio.sleep(0.1)
        await log.release()

    async def _check(self) -> None:
        for name, known in self.histories.items():
            log = await self._whole(name)
            assert known.violations(log) == []

    async def _whole(self, name: str) -> list[Stored]:
        """The log, by a reader of its own, behind an append that was accepted."""
        backend, deadline = self.engines[0], time.monotonic() + TIMEOUT
        while True:
            assert time.monotonic() < deadline, backend.why
            with contextlib.suppress(Unavailable, Held, Conflict):
                for number in range(HOSTS):
                    await backend.put_heartbeat(f"h{number}", None)
                log = Log(backend, name, Host("reader", "reader", "1"))
                await log.acquire(1, "one-shot")
                return [it async for it in log.records(0, log.sequence)]
            await asyncio.sleep(0.1)


def test_whatever_fails_it_is_one_log_a_conversation(cluster: ProxiedCluster, long: bool) -> None:
    chance = random.Random(21)
    writers = Writers(cluster.url, chance)

    async def story() -> None:
        async with writers.at_work():
            await writers.until_all_is_well()
            for number in range(FAULTS if long else FEW):
                await fail(cluster, chance)
                if number % 10 == 9:
                    await writers.until_all_is_well()

    asyncio.run(story())


async def fail(cluster: ProxiedCluster, chance: random.Random) -> None:
    """Have one server fail for a moment: by a cut, a freeze, or now and then by its death."""
    victim = chance.randrange(SERVERS)
    server = cluster.servers[victim]
    kind = chance.choices(["cut", "freeze", "one way", "kill"], [5, 5, 3, 1])[0]
    if kind == "kill":
        server.kill()
    elif kind == "freeze":
        server.stop()
    elif kind == "cut":
        cluster.isolate(victim)
    else:
        cluster.proxies.cut({(victim, (victim + 1) % SERVERS)})
    await asyncio.sleep(chance.expovariate(2))
    if kind == "kill":
        server.start()
    server.cont()
    cluster.heal()
    await asyncio.sleep(chance.expovariate(10))


def test_servers_that_are_killed_in_turn_with_the_leader_lose_nothing(
    cluster: ProxiedCluster, long: bool
) -> None:
    chance = random.Random(22)
    writers = Writers(cluster.url, chance)

    async def story() -> None:
        async with writers.at_work():
            for number in range(KILLS if long else FEW_KILLS):
                await writers.until_all_is_well()
                leader = cluster.leader(STREAM)
                victim = leader if number % 2 and leader is not None else number % SERVERS
                cluster.servers[victim].kill()
                await writers.until_all_is_well()
                cluster.servers[victim].start()
                await asyncio.to_thread(cluster.wait_until_whole)

    asyncio.run(story())
