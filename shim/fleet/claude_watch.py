"""Watching processes: the kernel reports each end where it can, else they are polled."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable


class ClaudeWatch:
    """Watched processes; `on_end` is called with the pid of each that has ended."""

    def __init__(self, on_end: Callable[[int], None]) -> None:
        self._on_end = on_end
        self._descriptors: dict[int, int] = {}
        self._polled: dict[int, psutil.Process] = {}

    def watch(self, pid: int) -> bool:
        """Watch a process; returns whether it is alive."""
        if pid in self._descriptors or pid in self._polled:
            return True
        if sys.platform != "linux":
            return self._start_polling(pid)
        try:
            descriptor = os.pidfd_open(pid)
        except (ProcessLookupError, ValueError, OverflowError):
            return False
        except (AttributeError, OSError):  # Linux before 5.3, or a Python built there
            return self._start_polling(pid)
        self._descriptors[pid] = descriptor
        asyncio.get_running_loop().add_reader(descriptor, self._end, pid)
        return True

    def poll(self) -> None:
        """Look at those that the kernel does not report."""
        for pid, process in list(self._polled.items()):
            if not _is_alive(process):
                del self._polled[pid]
                self._on_end(pid)

    def _start_polling(self, pid: int) -> bool:
        try:
            process = psutil.Process(pid)
        except (psutil.Error, ValueError):
            return False
        self._polled[pid] = process
        return _is_alive(process)

    def _end(self, pid: int) -> None:
        descriptor = self._descriptors.pop(pid)
        asyncio.get_running_loop().remove_reader(descriptor)
        os.close(descriptor)
        self._on_end(pid)


def start_time(pid: int) -> float | None:
    """When a process has started, which tells it from a later one of the same pid."""
    try:
        return psutil.Process(pid).create_time()
    except (psutil.Error, ValueError):
        return None


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False
