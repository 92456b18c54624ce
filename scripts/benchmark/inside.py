"""What a call consists of: its memory, what it imports, and its system calls."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator

from benchmark.measuring import Row
from benchmark.world import FLOOR, UNTOUCHED, World, known_key

PEAK = """
import os, posix, sys
def report(*args):
    print(next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line))
    sys.stdout.flush()
    os._exit(0)
os.execve = posix.execv = report
sys.argv = sys.argv[1:]
exec(compile(open(sys.argv[0]).read(), sys.argv[0], "exec"))
"""


def memory(world: World) -> Iterator[Row]:
    """Peak memory of the process by the time it execs."""

    def peaks(script: list[str], environ: dict[str, str]) -> list[float]:
        command = [world.python, "-IS", "-Xutf8", "-c", PEAK, *script]
        return [float(world.run(command, environ, capture_output=True).stdout) for _ in range(5)]

    floor = Row("python -IS, before its execve", unit="KiB")
    floor.values = peaks(world.floor[2:], world.known(1))
    yield floor
    for size in (1, 100_000):
        row = Row(known_key(size), unit="KiB", to=floor.name, bar=1.15)
        row.values = peaks(world.handed, world.known(size))
        row.ratio = row.median / floor.median
        yield row


def where(world: World) -> Iterator[Row]:
    """Where the time goes: what is imported beyond the floor, and system calls."""
    environ = world.known(1)
    bare, ours = _imports(world, world.floor[2:], environ), _imports(world, world.handed, environ)
    gone = {name: times for name, times in ours.items() if name not in bare}
    total = [sum(times) for times in zip(*gone.values(), strict=True)]
    yield Row(f"importing {len(gone)} modules that the floor does not", values=total)
    each = sorted(gone.items(), key=lambda item: -statistics.median(item[1]))
    for name, times in each[:8]:
        yield Row(f"  {name}", values=times)
    floor = _system_calls(world, world.floor, environ)
    yield Row(f"{FLOOR}: system calls", unit="", values=[floor.total()])
    for name, variables in {UNTOUCHED: world.environ(), known_key(1): environ}.items():
        found = _system_calls(world, world.call, variables)
        ratio = found.total() / floor.total()
        name = f"{name}: system calls"
        yield Row(name, unit="", values=[found.total()], to=FLOOR, ratio=ratio)
        for call, count in (found - floor).most_common(8):
            yield Row(f"  {call}, more than the floor", unit="", values=[count])


def _imports(world: World, script: list[str], environ: dict[str, str]) -> dict[str, list[float]]:
    """Each module that a Python script imports, and the seconds that it took for itself."""
    command = [world.python, "-X", "importtime", "-IS", *script]
    found: dict[str, list[float]] = defaultdict(list)
    world.run(command, environ, capture_output=True)  # what a first call alone does
    for _ in range(5 if world.quick else 15):
        for line in world.run(command, environ, capture_output=True).stderr.splitlines()[1:]:
            own, _, name = line.removeprefix("import time:").split("|")
            found[name.strip()].append(int(own) / 1e6)
    return found


def _system_calls(world: World, command: list[str], environ: dict[str, str]) -> Counter[str]:
    """How often a command makes each system call, what it becomes included."""
    summary = world.root / "calls"
    world.run(["strace", "-c", "-U", "calls,name", "-o", str(summary), *command], environ)
    counts = (line.split() for line in summary.read_text().splitlines())
    return Counter({name: int(n) for n, name in counts if n.isdigit() and name != "total"})
