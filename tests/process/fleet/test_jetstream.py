"""The backend on a real nats-server: what is stored, what is refused, and what nobody can know."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import nats
import psutil
import pytest

from shim.fleet import availability, jetstream
from shim.fleet.backend import Conflict, RoomEntry, Unavailable
from shim.fleet.jetstream import STREAM, JetStream
from shim.fleet.records import CLAIM, DATA, LeaseHolder, Record
from tests.support.meanwhile import meanwhile
from tests.support.nats import free_port
from tests.support.nats_proxied import ProxiedCluster

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.support.nats import NatsServer

U = "11111111-1111-4111-8111-111111111111"
HOLDER = LeaseHolder("h", "name", "i", 7, "one-shot")
TIMEOUT = 30.0


def claim() -> Record:
    return Record(CLAIM, HOLDER, 1)


def data(body: bytes, offset: int = 0) -> Record:
    return Record(DATA, HOLDER, 1, offset=offset, body=body)


@contextlib.asynccontextmanager
async def connected(url: str) -> AsyncIterator[JetStream]:
    backend = JetStream(url, "")
    async with meanwhile(backend.run()):
        await until(lambda: backend.is_here)
        yield backend


async def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + TIMEOUT
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


def run(url: str, story: Callable[[JetStream], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with connected(url) as backend:
            await story(backend)

    asyncio.run(whole())


async def bodies(backend: JetStream) -> list[bytes]:
    last = await backend.last(U)
    assert last is not None
    return [it.record.body async for it in backend.records(U, 0, last.sequence)]


def test_records_come_back_in_their_order_and_the_last_one_is_known(
    nats_server: NatsServer,
) -> None:
    async def story(backend: JetStream) -> None:
        assert await backend.last(U) is None
        after = 0
        for n in range(1200):
            after = await backend.append(U, data(b"%d" % n), after, 5)
        last = await backend.last(U)
        assert last is not None
        assert (last.sequence, last.record.body) == (after, b"1199")
        assert await bodies(backend) == [b"%d" % n for n in range(1200)]
        tail = [it.record.body async for it in backend.records(U, after - 2, after - 1)]
        assert tail == [b"1198"]

    run(nats_server.url, story)


def test_only_who_knows_the_last_record_can_append(nats_server: NatsServer) -> None:
    async def story(backend: JetStream) -> None:
        first = await backend.append(U, claim(), 0, 5)
        await backend.append(U, claim(), first, 5)
        for stale in (0, first):
            with pytest.raises(Conflict):
                await backend.append(U, data(b"late"), stale, 5)
        assert b"late" not in await bodies(backend)

    run(nats_server.url, story)


def test_what_was_stored_is_not_stored_again(nats_server: NatsServer) -> None:
    async def story(backend: JetStream) -> None:
        first = await backend.append(U, claim(), 0, 5)
        record = data(b"once")
        assert await backend.append(U, record, first, 5) == await backend.append(
            U, record, first, 5
        )
        assert await bodies(backend) == [b"", b"once"]

    run(nats_server.url, story)


def test_what_came_before_can_be_deleted(nats_server: NatsServer) -> None:
    async def story(backend: JetStream) -> None:
        first = await backend.append(U, data(b"old"), 0, 5)
        second = await backend.append(U, data(b"new"), first, 5)
        await backend.purge(U, second)
        assert await bodies(backend) == [b"new"]
        await backend.purge(U)
        assert await backend.last(U) is None

    run(nats_server.url, story)


def test_rooms_and_heartbeats_are_known_until_they_are_removed(nats_server: NatsServer) -> None:
    async def story(backend: JetStream) -> None:
        assert await backend.room("x") == RoomEntry(None, 0)
        assert (await backend.rooms(), await backend.heartbeats()) == ([], {})
        await backend.put_room("x", {"session_id": U}, 0)
        await backend.put_heartbeat("h", {"held": []})
        entry = await backend.room("x")
        assert entry.value == {"session_id": U}
        assert await backend.rooms() == [{"session_id": U}]
        assert await backend.heartbeats() == {"h": await backend.heartbeat_of("h")}
        await backend.put_room("x", None, entry.revision)
        await backend.put_heartbeat("h", None)
        assert (await backend.room("x")).value is None
        assert (await backend.rooms(), await backend.heartbeats()) == ([], {})

    run(nats_server.url, story)


def test_a_room_that_another_host_has_changed_is_not_overwritten(nats_server: NatsServer) -> None:
    async def story(backend: JetStream) -> None:
        await backend.put_room("x", {"session_id": U}, 0)
        with pytest.raises(Conflict):
            await backend.put_room("x", {"session_id": "other"}, 0)
        assert (await backend.room("x")).value == {"session_id": U}

    run(nats_server.url, story)


def test_a_watcher_is_notified(nats_server: NatsServer) -> None:
    async def story(backend: JetStream) -> None:
        async with backend.watch(U) as changed:
            assert not changed.is_set()
            await backend.append(U, claim(), 0, 5)
            await asyncio.wait_for(changed.wait(), TIMEOUT)

    run(nats_server.url, story)


def test_a_stream_of_ours_refuses_what_is_new_when_it_is_full(nats_server: NatsServer) -> None:
    async def story(_: JetStream) -> None:
        client = await nats.connect(nats_server.url)
        config = (await client.jetstream().stream_info(STREAM)).config
        assert (config.discard, config.num_replicas, config.allow_direct) == ("new", 1, False)
        await client.close()

    run(nats_server.url, story)


class Proxy:
    """Stands between a client and a server, and keeps the server's answers to itself if told so."""

    def __init__(self, url: str) -> None:
        self.port = free_port()
        self.is_silent = False
        self._server_port = int(url.rpartition(":")[2])
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Proxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers, there = await asyncio.open_connection("127.0.0.1", self._server_port)
        self._tasks += [
            asyncio.create_task(self._pass(reader, there, is_answer=False)),
            asyncio.create_task(self._pass(answers, writer, is_answer=True)),
        ]

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_answer: bool
    ) -> None:
        try:
            while piece := await reader.read(1 << 16):
                if not (is_answer and self.is_silent):
                    writer.write(piece)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def hostile(greeting: bytes) -> AsyncIterator[str]:
    """The URL of a server that greets, answers as nats-server does, and then sends something."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"max_payload":1048576,"version":"2.12.0","headers":true}\r\n')
        with contextlib.suppress(OSError):
            while line := await reader.readline():
                if line.startswith(b"PING"):
                    writer.write(b"PONG\r\n" + greeting)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}"


def test_a_server_that_announces_a_huge_message_is_left() -> None:
    async def story() -> None:
        async with hostile(b"MSG x 1 1000000000000\r\nx") as url:
            backend = JetStream(url, "")
            async with meanwhile(backend.run()):
                await until(lambda: "announces a message of more than 16 MB" in backend.why)

    asyncio.run(story())


def test_what_a_server_says_reaches_nobodys_terminal_as_it_is() -> None:
    async def story() -> None:
        async with hostile(b"-ERR 'bad \x1b]0;title\x07'\r\n") as url:
            backend = JetStream(url, "")
            async with meanwhile(backend.run()):
                await until(lambda: "bad" in backend.why)
                assert r"\x1b]0;title\x07" in backend.why
                assert backend.why.isprintable()

    asyncio.run(story())


def test_who_asks_has_a_restarted_server_found_at_once(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story(backend: JetStream) -> None:
        # Nothing but a question ends the wait for the next try.
        monkeypatch.setattr(jetstream, "_RETRY_DELAYS", (0.05, 3600.0))
        monkeypatch.setattr(jetstream, "_TRY_TIMEOUT", TIMEOUT)
        nats_server.kill()
        await until(lambda: "answers" in backend.why and not backend.is_here)
        assert not await backend.wait_until_ready()
        await asyncio.to_thread(nats_server.start)
        assert await backend.wait_until_ready()

    run(nats_server.url, story)


def test_a_host_that_has_just_started_waits_for_a_cluster_to_elect_its_leader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(availability, "AGREEMENT_TIMEOUT", 240.0)

    async def story(cluster: ProxiedCluster) -> None:
        backend = JetStream(cluster.url, "")
        async with meanwhile(backend.run()):
            ready = asyncio.create_task(backend.wait_until_ready())
            await until(lambda: "away" in backend.why or "answers" in backend.why)
            assert not ready.done()
            for server in cluster.servers[1:]:
                await asyncio.to_thread(server.start)
            assert await ready

    with ProxiedCluster(tmp_path, begins_with=1) as cluster:
        asyncio.run(story(cluster))


def test_a_frozen_server_of_several_costs_a_new_host_nothing(nats_server: NatsServer) -> None:
    async def story() -> None:
        with socket.create_server(("127.0.0.1", 0)) as frozen:
            port = frozen.getsockname()[1]
            async with connected(f"nats://127.0.0.1:{port},{nats_server.url}") as backend:
                assert await backend.wait_until_ready()

    asyncio.run(story())


def test_who_stops_while_it_connects_leaves_nothing_open(nats_server: NatsServer) -> None:
    async def story() -> None:
        nats_server.stop()
        async with meanwhile(JetStream(nats_server.url, "").run()):
            await until(lambda: is_connected_to(nats_server.url))

    asyncio.run(story())
    gc.collect()


def is_connected_to(url: str) -> bool:
    places = [it.raddr for it in psutil.Process().net_connections("tcp")]
    return urlsplit(url).port in [place.port for place in places if place]


def test_an_append_whose_answer_was_lost_is_stored_once(nats_server: NatsServer) -> None:
    async def story() -> None:
        async with (
            Proxy(nats_server.url) as proxy,
            connected(f"nats://127.0.0.1:{proxy.port}") as backend,
        ):
            first = await backend.append(U, claim(), 0, 5)
            record = data(b"once")
            proxy.is_silent = True
            with pytest.raises(Unavailable):
                await backend.append(U, record, first, 0.2)
            assert not backend.is_here
            proxy.is_silent = False
            await until(lambda: backend.is_here)

            second = await backend.append(U, record, first, 5)
            await backend.append(U, data(b"next", 4), second, 5)
            assert await bodies(backend) == [b"", b"once", b"next"]

    asyncio.run(story())
