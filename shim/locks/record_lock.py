"""The lease: the right to be the one live claude for a room and agent, or for a conversation.

A POSIX write lock on bytes of the file `leases` beside the store, which holds nothing. The kernel
keeps such a lock through an exec, gives it to no child, names its holder, and frees it the moment
the holder dies (help facts, "Many at once").

Every session key has a stretch of the file to itself, and so has every conversation, by its
session id: two rooms on one conversation, and a call that names it, take turns. Of its first two
bytes the holder locks the first alone for a one-shot run, which will be over soon, and both for a
streaming or interactive one. Those who wait stand in line on the bytes behind these, each on the
one behind the last that is taken; who dies leaves the line without a trace.
"""

import fcntl
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Final


FILE_NAME: "Final" = "leases"

# What a call may do with a conversation: go on with it, go on with a copy, leave claude alone.
ACQUIRED: "Final" = "ours"
FORK: "Final" = "fork"
BYPASS: "Final" = "aside"
UNLOCKED: "Final" = "beside"  # as asked, without the lease

_STRETCH = 1 << 20
# The largest prime below 2^42: so many stretches fit into the offsets a lock can have.
_STRETCHES = 4398046511093
# Where those of conversations begin, behind all that keys can have.
_CONVERSATIONS = 1 << 62
# Behind all stretches: a byte that no lease has.
UNUSED_BYTE: "Final" = (1 << 63) - 2
_LINE = 2
# The lease's descriptor stays open in claude: out of the way of those a caller hands down, and
# below the limit of open files, which is 256 on macOS.
_HIGH_DESCRIPTORS = (1000, 250, 100, 10)
_NAP = 0.01
_IS_MACOS = sys.platform == "darwin"


class Holder:
    """Who has the lease: a pid (0 where the system can't say) and whether its run may go on."""

    __slots__ = ("is_long_running", "pid")

    def __init__(self, pid: int, is_long_running: bool) -> None:
        self.pid = pid
        self.is_long_running = is_long_running


def open_lock_file(directory: str) -> int:
    """Open the file of leases beside a store, once for all that a process has: closing any
    descriptor of it gives all of them back.

    The descriptor is out of the way, and stays open in the next program. Raises OSError:
    FileNotFoundError where the directory is missing.
    """
    return _open_high(f"{directory}/{FILE_NAME}")


def release_all(file: int) -> None:
    """Give back all leases that this process has."""
    fcntl.lockf(file, fcntl.LOCK_UN)


class Lock:
    """A lease, not taken yet: a stretch of the open file.

    Raises OSError, `ENOLCK` or `ENOSYS`, from the first use where the filesystem has no locks.
    """

    __slots__ = ("_file", "_start")

    def __init__(self, file: int, start: int) -> None:
        self._file = file
        self._start = start

    def try_acquire(self, is_long_running: bool) -> bool:
        """Take the lease if nobody has it and nobody waits for it; return whether it is ours."""
        return self._lock(is_long_running) and (
            not self._is_line_before(_STRETCH) or self._unlock()
        )

    def holder(self) -> Holder | None:
        """Who has the lease, if anyone but this process."""
        found = self._ask(0, _LINE)
        return Holder(found[2], is_long_running=found[1] > 1) if found else None

    def release(self) -> None:
        """Give it back, and no other that this process has."""
        self._unlock()

    def is_free(self) -> bool:
        """Whether nobody has the lease, this process aside, and nobody waits for it."""
        return self.holder() is None and not self._is_line_before(_STRETCH)

    def wait(
        self, is_long_running: bool, is_worth_it: "Callable[[Holder | None, float], bool]"
    ) -> bool:
        """Wait in line for the lease; return whether it is ours.

        Who comes first gets it first, unless it is suspended. `is_worth_it` is asked every 10 ms,
        with the holder and the seconds waited so far; where it says no, the wait is over. A signal
        ends it as it would end any program.
        """
        started = time.monotonic()
        place = self._stand_in_line()
        try:
            while self._is_line_before(place) or not self._lock(is_long_running):
                if not is_worth_it(self.holder(), time.monotonic() - started):
                    return False
                time.sleep(_NAP)
            return True
        finally:
            self._set(fcntl.LOCK_UN, place, 1)

    def _lock(self, is_long_running: bool) -> bool:
        return self._set(fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 2 if is_long_running else 1)

    def _unlock(self) -> bool:
        self._set(fcntl.LOCK_UN, 0, _LINE)
        return False

    def _stand_in_line(self) -> int:
        place = _LINE
        while True:
            while (taken := self._ask(place, _STRETCH - place)) is not None:
                place = taken[0] + taken[1]
            if self._set(fcntl.LOCK_EX | fcntl.LOCK_NB, place, 1):
                return place

    def _is_line_before(self, place: int) -> bool:
        """Whether somebody stands in line before a place, and could take the lease."""
        line = _locks(self._file, self._start + _LINE, self._start + place)
        return any(not _is_suspended(pid) for _, _, pid in line)

    def _set(self, how: int, at: int, length: int) -> bool:
        try:
            fcntl.lockf(self._file, how, length, self._start + at)
        except (BlockingIOError, PermissionError):
            return False  # some systems say EACCES for a lock that is taken
        return True

    def _ask(self, at: int, length: int) -> tuple[int, int, int] | None:
        """Where another's lock on these bytes starts, how long it is, and whose it is."""
        answer = fcntl.fcntl(self._file, fcntl.F_GETLK, _pack(self._start + at, length))
        kind, start, length, pid = _unpack(answer)
        return None if kind == fcntl.F_UNLCK else (start - self._start, length, pid)


def key_offset(room: str, agent: str) -> int:
    """Where the stretch of a room and agent starts in the file."""
    # The store can hold half a character, which JSON can write and no environment.
    return _stretch(f"{room}\0{agent}")


def conversation_offset(session_id: str) -> int:
    """Where the stretch of a conversation starts in the file."""
    return _CONVERSATIONS + _stretch(session_id)


def is_of_conversation(start: int) -> bool:
    """Whether a stretch is a conversation's, and not a session key's."""
    return start >= _CONVERSATIONS


def all_held(directory: str) -> "dict[int, tuple[Holder | None, list[int]]]":
    """Every stretch that others have locks on, by its start: the holder, and who waits, in line.

    Costs two questions to the kernel for each lock, and nothing for stretches without one. Must
    not be called by who has a lease of this directory: closing the file gives it back. Raises
    OSError, where the filesystem has no locks for instance.
    """
    found: dict[int, tuple[Holder | None, list[int]]] = {}
    try:
        file = posix.open(f"{directory}/{FILE_NAME}", posix.O_RDONLY | posix.O_CLOEXEC)
    except FileNotFoundError:
        return found
    try:
        locks = sorted(_locks(file, 0, UNUSED_BYTE))
    finally:
        posix.close(file)
    for at, length, pid in locks:
        start, place = at // _STRETCH * _STRETCH, at % _STRETCH
        holder, line = found.get(start, (None, []))
        if place < _LINE:
            holder = Holder(pid, is_long_running=length > 1)
        else:
            line = [*line, pid]
        found[start] = holder, line
    return found


def _locks(file: int, start: int, stop: int) -> "Iterator[tuple[int, int, int]]":
    """Where each lock of others starts, how long it is, and whose it is, in no order."""
    unknown = [(start, stop)] if start < stop else []
    while unknown:
        start, stop = unknown.pop()
        kind, at, length, pid = _unpack(
            fcntl.fcntl(file, fcntl.F_GETLK, _pack(start, stop - start))
        )
        if kind == fcntl.F_UNLCK:
            continue
        yield at, length, pid
        end = at + length if length else stop
        unknown += [part for part in ((start, at), (end, stop)) if part[0] < part[1]]


def _is_suspended(pid: int) -> bool:
    """Whether a process was stopped, by Ctrl-Z for instance; False where that cannot be told."""
    import psutil  # few calls find a line

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except (psutil.Error, ValueError):
        return False


def _stretch(name: str) -> int:
    return int.from_bytes(name.encode("utf-8", "surrogatepass"), "big") % _STRETCHES * _STRETCH


def _open_high(path: str) -> int:
    """Open a file on a descriptor that is out of the way and stays open in the next program."""
    low = posix.open(path, posix.O_RDWR | posix.O_CREAT, 0o600)
    try:
        for least in _HIGH_DESCRIPTORS:
            try:
                return fcntl.fcntl(low, fcntl.F_DUPFD, least)
            except OSError:
                continue  # beyond the limit of open files
        return fcntl.fcntl(low, fcntl.F_DUPFD, 3)
    finally:
        # Before any lock is taken: closing a descriptor gives back all locks on its file.
        posix.close(low)


# `struct flock`, by hand because `struct` is a module more. Linux, 64 bits: short l_type, short
# l_whence, 4 bytes of padding, off_t l_start, off_t l_len, pid_t l_pid, padding. macOS: off_t
# l_start, off_t l_len, pid_t l_pid, short l_type, short l_whence.


def _pack(start: int, length: int) -> bytes:
    kind = fcntl.F_WRLCK.to_bytes(2, sys.byteorder)
    stretch = start.to_bytes(8, sys.byteorder) + length.to_bytes(8, sys.byteorder)
    if _IS_MACOS:
        return stretch + bytes(4) + kind + bytes(2)
    return kind + bytes(6) + stretch + bytes(8)


def _unpack(answer: bytes) -> tuple[int, int, int, int]:
    """The lock's type, start, length and holder."""
    at = 0 if _IS_MACOS else 8
    kind_at = 20 if _IS_MACOS else 0
    return (
        int.from_bytes(answer[kind_at : kind_at + 2], sys.byteorder),
        int.from_bytes(answer[at : at + 8], sys.byteorder),
        int.from_bytes(answer[at + 8 : at + 16], sys.byteorder),
        int.from_bytes(answer[at + 16 : at + 20], sys.byteorder, signed=True),
    )
