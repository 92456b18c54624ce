"""A fleet on one machine: what its sync daemon costs a call, a turn, and while nobody speaks."""

import asyncio
import json
import os
import random
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from benchmark.measuring import Row, cost
from benchmark.world import MESSAGE, SESSION_ID, TIMEOUT, TRUE, World, write_store
from shim.fleet import daemon_client, rooms
from shim.fleet.jetstream import JetStream
from tests.support.nats import NatsServer
from tests.support.real_claude import wait_until

LIVE = 50
MANY_ROOMS = 10_000
LARGE = 30_000_000
"""Bytes of a conversation that is fetched."""
IDLE_FOR = 10.0
"""Seconds in which nobody speaks."""


class Host:
    """A host of the fleet: a home, its store with rooms, and its sync daemon."""

    def __init__(self, world: World, name: str, fleet: str, conversations: dict[str, str]) -> None:
        self.home = world.root / name
        self.store = self.home / ".nsed"
        self._world = world
        self._environ = world.environ(HOME=str(self.home), NSED_FLEET_URL=fleet)
        self.project = self.home / ".claude/projects" / world.project
        self.project.mkdir(parents=True)
        write_store(self.store, conversations)

    def environ(self, room: str, **more: str) -> dict[str, str]:
        """The environment of a call from a room."""
        return {**self._environ, "NSED_ROOM_ID": room, **more}

    def write(self, session_id: str, text: str) -> Path:
        """Have a transcript here."""
        path = self.project / f"{session_id}.jsonl"
        path.write_text(text)
        return path

    def call(self, room: str, **more: str) -> float:
        """Seconds that a call takes; claude ends as soon as it runs."""
        began = time.perf_counter()
        call = os.posix_spawn(self._world.launcher, self._world.call, self.environ(room, **more))
        _, status = os.waitpid(call, 0)
        took = time.perf_counter() - began
        assert status == 0
        return took

    def status(self) -> dict[str, Any]:
        """What the sync daemon says of itself, once it holds no conversation."""
        return daemon_client.ask(str(self.store), "status", starts=False)

    def settle(self) -> None:
        """Wait until all is sent and every conversation is released."""
        wait_until(lambda: not self.status()["conversations"], "all released", TIMEOUT)

    def stop(self) -> None:
        """End the sync daemon, if one runs, and wait for its end."""
        try:
            daemon = psutil.Process(self.status()["pid"])
        except daemon_client.Unanswered:
            return
        daemon_client.ask(str(self.store), "stop", starts=False)
        daemon.wait(TIMEOUT)


def fleet(world: World) -> Iterator[Row]:
    """Everything with the real nats-server on loopback, each record of it on the disk at once."""
    data = world.root / "nats"
    data.mkdir()
    with NatsServer(data) as server:
        names = {"r": SESSION_ID, **{f"live-{n}": str(uuid.uuid4()) for n in range(LIVE)}}
        host = Host(world, "host", server.url, names)
        host.write(SESSION_ID, MESSAGE * 1000)
        try:
            yield from _calls(world, host)
            yield _flush(world, host)
            yield from _many_rooms(world, host, server.url)
            yield from _live(world, host)
        finally:
            host.stop()
        yield _pull(world, server.url)


def _calls(world: World, host: Host) -> Iterator[Row]:
    host.call("r")  # learns what there is to learn
    local, warm, cold = (
        Row("known key, without the fleet"),
        Row("known key, warm sync daemon", bar=1.6),
        Row("known key, cold sync daemon", bar=0.3),
    )
    for _ in range(20 if world.quick else 100):
        local.values.append(host.call("r", NSED_FLEET_URL=""))
        host.settle()
        warm.values.append(host.call("r"))
        host.settle()
    warm.to, warm.ratio = local.name, cost(warm.values) / cost(local.values)
    for _ in range(3 if world.quick else 10):
        host.stop()
        cold.values.append(host.call("r"))
    yield from (local, warm, cold)


def _flush(world: World, host: Host) -> Row:
    """From the moment when the answer is in the transcript, until the hook may end."""
    row = Row("a turn's flush, its answer being written", bar=0.01)
    transcript = host.project / f"{SESSION_ID}.jsonl"
    sleep = _sleeping(world)
    claude = subprocess.Popen(world.call, env=host.environ("r", NSED_CLAUDE_BIN=sleep))
    wait_until(lambda: host.status()["conversations"], "a conversation that is followed")
    for number in range(10 if world.quick else 50):
        answer = f"answer {number} " + "x" * 2000
        said = {"type": "assistant", "message": {"content": [{"type": "text", "text": answer}]}}
        with transcript.open("a") as file:
            file.write(json.dumps(said) + "\n")
        event = {
            "session_id": SESSION_ID,
            "transcript_path": str(transcript),
            "last_assistant_message": answer,
        }
        began = time.perf_counter()
        done = daemon_client.ask(
            str(host.store),
            "flush",
            starts=False,
            room="r",
            agent="claude",
            pid=claude.pid,
            event=json.dumps(event).encode(),
        )
        row.values.append(time.perf_counter() - began)
        assert done["answer"] == "done"
    claude.kill()
    claude.wait()
    return row


def _many_rooms(world: World, host: Host, url: str) -> Iterator[Row]:
    """The same call before and after the bucket has many more rooms."""
    few, many = (
        Row("warm sync daemon, few rooms"),
        Row(f"warm sync daemon, {MANY_ROOMS:,} rooms", bar=1.1),
    )
    turns = 20 if world.quick else 60

    def measure(row: Row) -> None:
        for _ in range(turns):
            host.settle()
            row.values.append(host.call("r"))

    measure(few)
    asyncio.run(_fill(url))
    measure(many)
    many.to, many.ratio = few.name, cost(many.values) / cost(few.values)
    yield from (few, many)


async def _fill(url: str) -> None:
    backend = JetStream(url, "")
    running = asyncio.create_task(backend.run())
    await backend.wait_until_ready()
    for number in range(MANY_ROOMS):
        room = f"room-{number}"
        value = {"room": room, "agent": "claude", "session_id": str(uuid.uuid4())}
        await backend.put_room(rooms.key(room, "claude"), value, 0)
    running.cancel()
    await backend.close()


def _live(world: World, host: Host) -> Iterator[Row]:
    """The sync daemon while many claudes live and nobody speaks."""
    sleep = _sleeping(world)
    claudes = [
        subprocess.Popen(world.call, env=host.environ(f"live-{n}", NSED_CLAUDE_BIN=sleep))
        for n in range(LIVE)
    ]

    def followed() -> bool:
        return sum(bool(each["pid"]) for each in host.status()["conversations"]) == LIVE

    wait_until(followed, f"{LIVE} conversations that are followed", TIMEOUT)
    daemon = psutil.Process(host.status()["pid"])
    before = daemon.cpu_times()
    print(f"fleet: {IDLE_FOR:g} s in which nobody speaks", file=sys.stderr)
    time.sleep(IDLE_FOR)
    after = daemon.cpu_times()
    used = after.user + after.system - before.user - before.system
    memory = daemon.memory_info().rss / 1024
    connections = [it for it in daemon.net_connections("tcp") if it.status == "ESTABLISHED"]
    for claude in claudes:
        claude.kill()
        claude.wait()
    one = f"the sync daemon of {LIVE} idle conversations"
    yield Row(f"{one}, memory", unit="KiB", values=[memory], bar=60 * 1024)
    yield Row(f"{one}, connections", unit="", values=[len(connections)], bar=1)
    yield Row(f"{one}, of {IDLE_FOR:g} s", values=[used], bar=IDLE_FOR / 100)


def _sleeping(world: World) -> str:
    """A program that plays a claude which lives on, and says nothing."""
    program = world.root / "sleeping"
    if not program.exists():
        program.write_text(f"#!/bin/sh\nexec sleep {TIMEOUT}\n")
        program.chmod(0o755)
    return str(program)


def _pull(world: World, url: str) -> Row:
    """A call on a host that has nothing yet of a large conversation."""
    row = Row(f"a call that fetches {LARGE // 1_000_000} MB", bar=1)
    session_id = str(uuid.uuid4())
    source = Host(world, "source", url, {"large": session_id})
    sent = source.write(session_id, _large())
    try:
        source.call("large")
        source.settle()
        for number in range(2 if world.quick else 5):
            host = Host(world, f"fetching-{number}", url, {"other": SESSION_ID})
            host.write(SESSION_ID, MESSAGE)
            try:
                host.call("other")  # so that the sync daemon runs
                host.settle()
                row.values.append(host.call("large", NSED_CLAUDE_BIN=TRUE))
                (fetched,) = host.home.glob(f".claude/projects/*/{session_id}.jsonl")
                assert fetched.stat().st_size == sent.stat().st_size
            finally:
                host.stop()
            shutil.rmtree(host.home)
    finally:
        source.stop()
    return row


def _large() -> str:
    """A transcript of claude's kind: messages of some kilobytes, of words."""
    draw = random.Random(LARGE)
    words = [f"{draw.getrandbits(40):x}"[: draw.randint(2, 10)] for _ in range(20_000)]
    lines, size = [], 0
    while size < LARGE:
        message = {"role": "user", "content": " ".join(draw.choices(words, k=500))}
        lines.append(json.dumps({"type": "user", "uuid": str(uuid.uuid4()), "message": message}))
        size += len(lines[-1]) + 1
    return "\n".join(lines) + "\n"
