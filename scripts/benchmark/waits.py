"""What a call may have to wait for: another's lock, and a damaged store."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmark.measuring import Row
from benchmark.world import World
from tests.support.real_claude import wait_until

# Seconds for which those who wait are watched.
_WATCHED = 10


def waits(world: World) -> Iterator[Row]:
    """Each with a bar in seconds."""
    row = Row("a killed holder's lock, handed over", bar=0.1)
    row.values = [_handed_over(world) for _ in range(3 if world.quick else 10)]
    yield row
    row = Row("a core's share that 100 waiting calls take", bar=0.05)
    row.values = [_share_of_waiters(world, 20 if world.quick else 100)]
    yield row
    row = Row("a call with a store of 100 MB of zeros", bar=2)
    row.values = [_refused(world) for _ in range(3)]
    yield row


def _handed_over(world: World) -> float:
    """Seconds from a holder's death to the start of the claude that waited for its lock."""
    known = world.known(1)

    def call(become: str, stdout: int | None = None) -> subprocess.Popen[bytes]:
        program = world.root / "program"
        program.write_text(f"#!/bin/sh\nexec {become}\n")
        program.chmod(0o755)
        return subprocess.Popen(
            world.call, env=known | {"NSED_CLAUDE_BIN": str(program)}, stdout=stdout
        )

    holder = call("sleep 60")
    wait_until(lambda: b"sleep" in Path(f"/proc/{holder.pid}/cmdline").read_bytes(), "it holds")
    waiter = call("date +%s%N", subprocess.PIPE)
    wait_until(lambda: f" {waiter.pid} " in Path("/proc/locks").read_text(), "it waits")
    holder.kill()
    killed = time.time_ns()
    holder.wait()
    return (int(waiter.communicate()[0]) - killed) / 1e9


def _share_of_waiters(world: World, count: int) -> float:
    """What so many calls use of a core's time while they wait for one lock."""
    program = world.root / "program"
    program.write_text("#!/bin/sh\nexec sleep 600\n")
    program.chmod(0o755)
    environ = world.known(1) | {"NSED_CLAUDE_BIN": str(program)}
    calls = [psutil.Popen(world.call, env=environ) for _ in range(count + 1)]
    locks = Path("/proc/locks")
    try:
        wait_until(
            lambda: sum(f" {call.pid} " in locks.read_text() for call in calls) > count, "they wait"
        )
        used = _processor_time(calls)
        time.sleep(_WATCHED)
        return (_processor_time(calls) - used) / _WATCHED
    finally:
        for call in calls:
            call.kill()
            call.wait()


def _processor_time(processes: list[psutil.Popen]) -> float:
    """Seconds that processes have used so far."""
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def _refused(world: World) -> float:
    """Seconds that a call takes whose store was overwritten."""
    store = world.store(2)
    (store / "sessions.json").write_bytes(bytes(100_000_000))
    environ = world.environ(NSED_SESSION_DIR=str(store), NSED_ROOM_ID="damaged")
    began = time.monotonic()
    world.run(world.call, environ, stderr=subprocess.DEVNULL)
    return time.monotonic() - began
