"""Which processes live: told of each one's end by the kernel where it can, else by looking."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


class ClaudeWatch:
    """Processes that are watched; `on_end` is called with the pid of one that has ended."""

    def __init__(self, on_end: Callable[[int], None]) -> None:
        self._on_end = on_end
        self._descriptors: dict[int, int] = {}
        self._looked_at: dict[int, psutil.Process] = {}

    def watch(self, pid: int) -> bool:
        """Watch a process; whether it lives."""
        if pid in self._descriptors or pid in self._looked_at:
            return True
        try:
            descriptor = os.pidfd_open(pid)
        except (ProcessLookupError, ValueError, OverflowError):
            return False
        except (AttributeError, OSError):  # another system, or Linux before 5.3
            return self._look_at(pid)
        self._descriptors[pid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._end, pid)
        return True

    def look(self) -> None:
        """Look at those of which the kernel does not tell."""
        for pid, process in list(self._looked_at.items()):
            if not _claude_watch(process):
                del self._looked_at[pid]
                self._on_end(pid)

    def _look_at(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
        except (psutil.Error, ValueError):
            return False
        self._looked_at[pid] = process
        return _claude_watch(process)

    def _end(self, pid: int) -> None:
        descriptor = self._descriptors.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._on_end(pid)


def born(pid: int) -> float | None:
    """When a process has started, by which it is known from another of that pid."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return None


def _claude_watch(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
