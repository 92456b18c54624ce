"""Pythons that are killed at a chosen one of the calls that change something (killer.c)."""

import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.support.compiled import ROOT, compiled
from tests.support.recorder import PATIENCE

Process = subprocess.Popen[bytes]
Start = Callable[[Mapping[str, str]], Process]
"""Starts a process with these variables in its environment."""

_SHARED = ("-shared", "-fPIC", "-ldl")


class Killer:
    """What is preloaded into Pythons, and their count of calls."""

    def __init__(self, directory: Path) -> None:
        library = compiled(ROOT / "tests/support/killer.c", directory / "killer.so", *_SHARED)
        assert library is not None, "no compiler here makes a shared library"
        self._library = library
        self._count = directory / "count"

    def measure(self, start: Start) -> tuple[int, float]:
        """How many calls change something, and the seconds it takes, where nobody kills."""
        began = time.monotonic()
        self._start(start, 0).communicate(timeout=PATIENCE)
        seconds = time.monotonic() - began
        return int.from_bytes(self._count.read_bytes(), "little"), seconds

    def kill_at(self, start: Start, call: int) -> None:
        """Have the process killed that makes a call, the first one is 1."""
        self._start(start, call).communicate(timeout=PATIENCE)

    def kill_after(self, start: Start, seconds: float) -> None:
        """Kill a process so long after its start, whatever it does then."""
        process = self._start(start, 0)
        select.select([], [], [], seconds)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)

    def _start(self, start: Start, call: int) -> Process:
        self._count.write_bytes(bytes(8))
        variables = {"KILLER_COUNT": str(self._count), "KILLER_AT": str(call)}
        return start({"LD_PRELOAD": str(self._library), **variables})
