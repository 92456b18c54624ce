"""Many hosts of a fleet on one server: what a call waits for, and what the server takes.

A host is a store and a real sync daemon. A call is what the wrapper and the hook say to it, and a
process that stands in for claude, lives as long as a turn, and appends to a transcript. Neither
claude nor Python's start is in the numbers: those are in the sections `calls` and `fleet`.
"""

import json
import os
import queue
import random
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import quantiles
from typing import Any

import psutil

from benchmark.measuring import Row
from benchmark.world import TIMEOUT, World
from shim.fleet import daemon_client
from tests.support.nats import NatsServer
from tests.support.real_claude import wait_until

HOSTS, CONVERSATIONS, SIZE = 40, 1000, 1_000_000
FEW_HOSTS, FEW_CONVERSATIONS = 4, 20
RATE = 20.0
"""Calls a second, of all hosts together."""
SECONDS, FEW_SECONDS = 600.0, 10.0
CALLERS = 24
"""Calls that can be under way at once."""


@dataclass
class Seen:
    """What callers measured, in seconds."""

    begins: list[float] = field(default_factory=list)
    fetches: list[float] = field(default_factory=list)
    flushes: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


class Host:
    """A host: a store with its sync daemon, and the transcripts that calls have brought to it."""

    def __init__(self, root: Path, fleet: str) -> None:
        self.store = root / ".nsed"
        self.project = root / ".claude/projects/p"
        for directory in (self.store, self.project):
            directory.mkdir(mode=0o700, parents=True)
        self._fleet = fleet
        environ = {**os.environ, "HOME": str(root), "NSED_FLEET_URL": fleet}
        program = "from shim.fleet.sync_daemon import main; main()"
        self.daemon = psutil.Popen(
            [sys.executable, "-c", program, str(self.store)],
            env=environ,
            cwd=Path(daemon_client.__file__).parents[2],
        )
        wait_until(lambda: (self.store / "courier").exists(), "a sync daemon", TIMEOUT)

    def ask(self, request: str, **fields: str | int | bytes) -> dict[str, object]:
        """A question of a call's or a hook's."""
        return daemon_client.ask(str(self.store), request, starts=False, timeout=TIMEOUT, **fields)

    def call(self, session_id: str, seen: Seen) -> None:
        """One turn, from the question before claude to the end of its process."""
        transcript = self.project / f"{session_id}.jsonl"
        is_new = not transcript.exists()
        claude = subprocess.Popen(["cat"], stdin=subprocess.PIPE)
        try:
            whose: dict[str, Any] = {"room": session_id, "agent": "claude", "pid": claude.pid}
            began = time.perf_counter()
            said = self.ask(
                "begin",
                **whose,
                fleet=self._fleet,
                kind="one-shot",
                session_id=session_id,
                transcript=str(transcript),
                is_explicit=False,
                moves_head=True,
                waits=10_000,
            )
            took = time.perf_counter() - began
            if said["answer"] != "granted":
                seen.refused.append(str(said.get("why", said["answer"])))
                return
            (seen.fetches if is_new else seen.begins).append(took)
            answer = f"answer {uuid.uuid4()} " + "x" * 1000
            with transcript.open("a") as file:
                file.write(_line("user", "a question " + "y" * 1000) + _line("assistant", answer))
            event = {
                "session_id": session_id,
                "transcript_path": str(transcript),
                "last_assistant_message": answer,
            }
            began = time.perf_counter()
            said = self.ask("flush", **whose, event=json.dumps(event).encode())
            seen.flushes.append(time.perf_counter() - began)
            if said["answer"] != "done":
                seen.refused.append(str(said.get("why", said["answer"])))
        finally:
            claude.communicate()


def fleet_scale(world: World) -> Iterator[Row]:
    """Fill a server, call for a while, and say what that took."""
    count = FEW_CONVERSATIONS if world.quick else CONVERSATIONS
    seconds = FEW_SECONDS if world.quick else SECONDS
    data = world.root / "nats"
    data.mkdir()
    with NatsServer(data) as server:
        hosts = [
            Host(world.root / f"host-{n}", server.url)
            for n in range(FEW_HOSTS if world.quick else HOSTS)
        ]
        try:
            conversations = _fill(hosts, count)
            serving = psutil.Process(server.pid)
            before = [_used(each) for each in (serving, *(host.daemon for host in hosts))]
            began = time.monotonic()
            seen = _call(hosts, conversations, seconds)
            lasted = time.monotonic() - began
            after = [_used(each) for each in (serving, *(host.daemon for host in hosts))]
            used = [b - a for a, b in zip(before, after, strict=True)]
            size = sum(it.stat().st_size for it in data.rglob("*") if it.is_file())
            memory = serving.memory_info().rss / 1024
            daemons = [host.daemon.memory_info().rss / 1024 for host in hosts]
        finally:
            for host in hosts:
                host.daemon.kill()
                host.daemon.wait()
    what = f"{count:,} conversations, {len(hosts)} hosts, {len(seen.flushes) / lasted:.1f} calls/s"
    print(f"fleet-scale: {what} for {lasted:.0f} s", file=sys.stderr)
    yield from _latency("begin, the conversation is here", seen.begins)
    yield from _latency("begin, 1 MB is fetched", seen.fetches)
    yield from _latency("flush", seen.flushes)
    yield from _latency("a call begins late, all callers being busy", seen.late)
    yield Row("calls that went on alone", unit="", values=[len(seen.refused)], bar=0)
    calls = len(seen.flushes)
    yield Row("processor time of a call, of the server", values=[used[0] / calls])
    yield Row(
        "processor time of a call, of all sync daemons, idle too", values=[sum(used[1:]) / calls]
    )
    yield Row("the server, memory", unit="KiB", values=[memory])
    yield Row("the server, disk", unit="KiB", values=[size / 1024])
    yield Row("a sync daemon, memory", unit="KiB", values=daemons)
    for why in sorted(set(seen.refused)):
        print(f"fleet-scale: alone: {why}", file=sys.stderr)


def _fill(hosts: list[Host], count: int) -> list[str]:
    """Have conversations of a megabyte in the fleet, each known to one host."""
    conversations = [str(uuid.uuid4()) for _ in range(count)]
    seen = Seen()
    for number, session_id in enumerate(conversations):
        host = hosts[number % len(hosts)]
        (host.project / f"{session_id}.jsonl").write_text(_large())
        host.call(session_id, seen)
        if number % 100 == 0:
            print(f"fleet-scale: {number:,} of {count:,} filled", file=sys.stderr)
    assert not seen.refused, seen.refused[0]
    return conversations


def _call(hosts: list[Host], conversations: list[str], seconds: float) -> Seen:
    """Have calls at the rate, each of a conversation on a host by chance, by several callers."""
    seen = Seen()
    due: queue.Queue[float | None] = queue.Queue()
    chance = random.Random(21)
    free = list(conversations)
    lock = threading.Lock()

    def calls() -> None:
        while (moment := due.get()) is not None:
            with lock:
                session_id = free.pop(chance.randrange(len(free)))
                host = chance.choice(hosts)
            seen.late.append(max(0.0, time.monotonic() - moment))
            try:
                host.call(session_id, seen)
            except daemon_client.Unanswered as problem:
                seen.refused.append(str(problem))
            free.append(session_id)

    callers = [threading.Thread(target=calls) for _ in range(CALLERS)]
    for each in callers:
        each.start()
    began = time.monotonic()
    for number in range(int(seconds * RATE)):
        moment = began + number / RATE
        time.sleep(max(0.0, moment - time.monotonic()))
        due.put(moment)
    for _ in callers:
        due.put(None)
    for each in callers:
        each.join()
    return seen


def _latency(name: str, values: list[float]) -> Iterator[Row]:
    if len(values) < 2:
        return
    parts = quantiles(values, n=100)
    yield Row(f"{name}, p50", values=[parts[49]])
    yield Row(f"{name}, p99", values=[parts[98]])


def _used(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _line(kind: str, text: str) -> str:
    message = {"role": kind, "content": [{"type": "text", "text": text}]}
    return json.dumps({"type": kind, "uuid": str(uuid.uuid4()), "message": message}) + "\n"


def _large() -> str:
    """A transcript of words, which compress as claude's do."""
    lines, size = [], 0
    while size < SIZE:
        words = " ".join(f"word{random.randrange(2000)}" for _ in range(400))
        lines.append(_line("user", words))
        size += len(lines[-1])
    return "".join(lines)
