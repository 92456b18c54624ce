"""The processes that hold the lock on a file, named for the person who waits for it."""

import os

import psutil

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_NAMED = 3


def named_holders(path: str) -> str:
    """The processes that may hold the lock, to append to a message; empty if none is found."""
    holders = _alive(_holding(path)) or _alive(_having_open(path))
    names = [f"{name} (pid {pid})" for pid, name in holders[:_MOST_NAMED]]
    more = len(holders) - len(names)
    return f": {', '.join(names)}{f' and {more} more' if more else ''}" if names else ""


def _holding(path: str) -> "list[int]":
    """The pids that took a flock on the file, by proc_locks(5); others may hold it by now."""
    try:
        inode = os.stat(path).st_ino
        with open("/proc/locks", encoding="ascii") as table:
            locks = [line.split() for line in table]
    except OSError:
        return []
    # 1: FLOCK  ADVISORY  WRITE 1234 fd:01:5678 0 EOF; one that waits has `->` behind the number.
    # The device is not compared: on some filesystems stat(2) has another one.
    return [
        int(lock[4])
        for lock in locks
        if lock[1] == "FLOCK" and lock[5].rpartition(":")[2] == str(inode)
    ]


def _having_open(path: str) -> "Iterator[int]":
    """This user's other processes that have the file open: holders and those who wait."""
    target = os.path.realpath(path)
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and any(
                opened.path == target for opened in process.open_files()
            ):
                yield process.pid
        except (psutil.Error, OSError):
            continue


def _alive(pids: "Iterator[int] | list[int]") -> "list[tuple[int, str]]":
    found = []
    for pid in pids:
        try:
            found.append((pid, psutil.Process(pid).name()))
        except (psutil.Error, ValueError):
            continue  # it is gone, or another user's and hidden
    return found
