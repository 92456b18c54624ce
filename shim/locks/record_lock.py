"""The lock: the right to be the one live claude of a session key, or of a conversation.

A POSIX write lock on bytes of the file `leases` beside the store, which holds nothing. The kernel
keeps such a lock through an exec, gives it to no child, names its holder, and frees it the moment
the holder dies (help facts, "Many at once").

Every session key has a range of the file to itself, and so has every conversation, by its session
id: two rooms on one conversation, and a call that names it, take turns. Of its first two bytes the
holder locks the first alone for a one-shot run, which will be over soon, and both for a streaming
or interactive one. Those who wait lock one of the bytes behind these, each the one behind the last
that is locked: a queue, which whoever dies leaves without a trace.
"""

import fcntl
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Final


FILE_NAME: "Final" = "leases"

# What a call may do with a conversation: resume it, fork it, leave claude alone, or run as asked
# without the lock.
ACQUIRED: "Final" = "acquired"
FORK: "Final" = "fork"
BYPASS: "Final" = "bypass"
UNLOCKED: "Final" = "unlocked"

_RANGE = 1 << 20
# The largest prime below 2^42: so many ranges fit into the offsets a lock can have.
_RANGES = 4398046511093
# Where those of conversations begin, behind all that keys can have.
_CONVERSATIONS = 1 << 62
# Behind all ranges: a byte that no lock has.
UNUSED_BYTE: "Final" = (1 << 63) - 2
# Where the queue begins in a range.
_QUEUE = 2
# The descriptor stays open in claude: out of the way of those a caller hands down, and below the
# limit of open files, which is 256 on macOS.
_HIGH_DESCRIPTORS = (1000, 250, 100, 10)
_IS_MACOS = sys.platform == "darwin"


class Holder:
    """Who has a lock: a pid (0 where the system can't say) and whether its run may go on."""

    __slots__ = ("is_long_running", "pid")

    def __init__(self, pid: int, is_long_running: bool) -> None:
        self.pid = pid
        self.is_long_running = is_long_running


def open_lock_file(directory: str) -> int:
    """Open the file of locks beside a store, once for all that a process has: closing any
    descriptor of it releases them all.

    The descriptor is out of the way, and stays open in the next program. Raises OSError:
    FileNotFoundError where the directory is missing.
    """
    return _open_high(f"{directory}/{FILE_NAME}")


class Lock:
    """A lock, not acquired yet: a range of the open file.

    Raises OSError, `ENOLCK` or `ENOSYS`, from the first use where the filesystem has no locks.
    """

    __slots__ = ("_file", "_offset", "_place")

    def __init__(self, file: int, offset: int) -> None:
        self._file = file
        self._offset = offset
        self._place = _RANGE  # of a newcomer, who stands behind all that wait

    def try_acquire(self, is_long_running: bool) -> bool:
        """Acquire the lock if nobody has it and nobody waits for it before us."""
        return not self._is_queue_before_us() and self._set(
            fcntl.LOCK_EX | fcntl.LOCK_NB, 0, 2 if is_long_running else 1
        )

    def holder(self) -> Holder | None:
        """Who has the lock, if anyone but this process."""
        found = self._ask(0, _QUEUE)
        return Holder(found[2], is_long_running=found[1] > 1) if found else None

    def release(self) -> None:
        """Release it, and no other that this process has."""
        self._set(fcntl.LOCK_UN, 0, _QUEUE)

    def is_free(self) -> bool:
        """Whether nobody has the lock, this process aside, and nobody waits for it."""
        return self.holder() is None and not self._is_queue_before_us()

    def enter_queue(self) -> None:
        """Wait for the lock from now on: who comes first gets it first, unless it is suspended."""
        while self._place == _RANGE:
            place = _QUEUE
            while (taken := self._ask(place, _RANGE - place)) is not None:
                place = taken[0] + taken[1]
            if self._set(fcntl.LOCK_EX | fcntl.LOCK_NB, place, 1):
                self._place = place

    def leave_queue(self) -> None:
        """Wait no longer."""
        if self._place != _RANGE:
            self._set(fcntl.LOCK_UN, self._place, 1)
            self._place = _RANGE

    def ahead(self, most: int) -> int:
        """How many wait before us, counted up to `most`: each is a question to the kernel."""
        return sum(1 for _ in zip(range(most), self._queue_before_us(), strict=False))

    def _is_queue_before_us(self) -> bool:
        """Whether somebody waits before us, and could acquire the lock."""
        return any(not _is_suspended(pid) for _, _, pid in self._queue_before_us())

    def _queue_before_us(self) -> "Iterator[tuple[int, int, int]]":
        return _locks(self._file, self._offset + _QUEUE, self._offset + self._place)

    def _set(self, how: int, at: int, length: int) -> bool:
        try:
            fcntl.lockf(self._file, how, length, self._offset + at)
        except (BlockingIOError, PermissionError):
            return False  # some systems report EACCES for a lock that another has
        return True

    def _ask(self, at: int, length: int) -> tuple[int, int, int] | None:
        """Where another's lock on these bytes starts, how long it is, and whose it is."""
        answer = fcntl.fcntl(self._file, fcntl.F_GETLK, _pack(self._offset + at, length))
        kind, start, length, pid = _unpack(answer)
        return None if kind == fcntl.F_UNLCK else (start - self._offset, length, pid)


def key_offset(room: str, agent: str) -> int:
    """Where the range of a session key starts in the file."""
    # The store can hold half a character, which JSON can write and no environment.
    return _range_start(f"{room}\0{agent}")


def conversation_offset(session_id: str) -> int:
    """Where the range of a conversation starts in the file."""
    return _CONVERSATIONS + _range_start(session_id)


def is_of_conversation(offset: int) -> bool:
    """Whether a range is a conversation's, and not a session key's."""
    return offset >= _CONVERSATIONS


def all_held(directory: str) -> "dict[int, tuple[Holder | None, list[int]]]":
    """Every range that others have locks on, by its start: the holder, and the queue's pids.

    Costs two questions to the kernel for each lock, and nothing for ranges without one. Must not be
    called by who has a lock of this directory: closing the file releases it. Raises OSError, where
    the filesystem has no locks for instance.
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
        start, place = at // _RANGE * _RANGE, at % _RANGE
        holder, queue = found.get(start, (None, []))
        if place < _QUEUE:
            holder = Holder(pid, is_long_running=length > 1)
        else:
            queue = [*queue, pid]
        found[start] = holder, queue
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
    """Whether a process was stopped, by Ctrl-Z for instance; False where that is unknown."""
    import psutil  # few calls find a queue

    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except (psutil.Error, ValueError):
        return False


def _range_start(name: str) -> int:
    return int.from_bytes(name.encode("utf-8", "surrogatepass"), "big") % _RANGES * _RANGE


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
        # Before any lock is acquired: closing a descriptor releases all locks on its file.
        posix.close(low)


# `struct flock`, by hand because `struct` is a module more. Linux, 64 bits: short l_type, short
# l_whence, 4 bytes of padding, off_t l_start, off_t l_len, pid_t l_pid, padding. macOS: off_t
# l_start, off_t l_len, pid_t l_pid, short l_type, short l_whence.


def _pack(start: int, length: int) -> bytes:
    kind = fcntl.F_WRLCK.to_bytes(2, sys.byteorder)
    where = start.to_bytes(8, sys.byteorder) + length.to_bytes(8, sys.byteorder)
    if _IS_MACOS:
        return where + bytes(4) + kind + bytes(2)
    return kind + bytes(6) + where + bytes(8)


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
