"""sessions.json as a file: opened, locked and written so that nobody's change is lost.

The lock is an exclusive `flock` on the file itself, for the whole of each change; the file is
written in place, and a kill or a power cut at any instant loses nothing.
"""

import _signal
import fcntl
import posix
import time

from shim.base.files import content, is_regular, replace, write, write_new
from shim.base.messages import EXIT_BUSY, Failure, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result
    from typing import Final, NoReturn, TypeVar

    T = TypeVar("T")

# Stands for the document's `{` while the rest is rewritten: no parser takes what is there then,
# and what is to be there is in the backup.
TORN: "Final" = b"!"

# Seconds to wait for the lock. Holders need milliseconds, so one that outlasts this is stuck, and
# no agent should hang for it.
PATIENCE: "Final" = 5.0
_ASK_FOR = 0.3
_SHORTEST_NAP = 0.0002
_LONGEST_NAP = 0.005
_TRIES = 20
_OTHERS = 0o077
_STICKY = 0o1000


class StoreLocked(Failure):
    """Another process has kept the lock for too long."""

    exit_code = EXIT_BUSY


def with_lock(
    path: str, action: "Callable[[int], T]", create: bool = False, patience: float = PATIENCE
) -> "T | None":
    """What the action returns, given the open file and its lock; None where there is no file.

    Waits up to `patience` seconds for the lock, then raises Busy. Raises Failure where the file
    cannot be used.
    """

    def wait_and_act(file: int) -> "T":
        _wait_for_lock(file, path, patience)
        return action(file)

    for _ in range(_TRIES):
        try:
            return with_file(path, wait_and_act, create)
        except _Replaced:
            continue
    raise Failure(f"{path} is replaced again and again by another program")


def with_file(path: str, action: "Callable[[int], T]", create: bool = False) -> "T | None":
    """The same without the lock."""
    try:
        file = _open(path, create)
    except (FileNotFoundError, NotADirectoryError) as problem:
        if create:
            raise Failure(f"{path}: {problem.strerror}") from problem
        return None
    except OSError as problem:
        import errno

        is_no_file = problem.errno in (errno.EISDIR, errno.ELOOP)
        advice = ": move it away" if is_no_file else ""
        raise Failure(f"{path}: {problem.strerror}{advice}") from problem
    try:
        _require_private(file, path)
        directory = path.rpartition("/")[0]
        _tighten(directory, posix.stat(directory))
        return action(file)
    except OSError as problem:
        raise Failure(f"{path}: {problem.strerror}") from problem
    finally:
        posix.close(file)


def commit(path: str, file: int, data: bytes) -> None:
    """Make the open, locked file hold a new document, with the document safe in its backup first.

    The file is written in place and keeps its inode, because others wait for its lock. Raises
    OSError: before the file is touched where the disk is full, and at worst with the file torn and
    the backup whole.
    """
    replace(backup_of(path), data)
    size = posix.fstat(file).st_size
    if len(data) > size:
        _reserve(file, size, len(data))
    write(file, TORN, 0)
    write(file, data[1:], 1)
    posix.ftruncate(file, len(data))
    write(file, data[:1], 0)


def backup(path: str) -> bytes:
    """What the backup of a document holds; nothing where there is none. Raises OSError."""
    try:
        file = posix.open(backup_of(path), posix.O_RDONLY)
    except FileNotFoundError:
        return b""
    try:
        return content(file)
    finally:
        posix.close(file)


def has_shrunk(path: str, file: int) -> bool:
    """Whether an open document is shorter than its backup: another program dropped something."""
    try:
        return posix.fstat(file).st_size < posix.stat(backup_of(path)).st_size
    except OSError:
        return False


def backup_of(path: str) -> str:
    """Where the backup of a document is, if there is one."""
    return path + ".bak"


def keep_aside(path: str, data: bytes) -> str:
    """Write damaged content beside the document, and return where. Raises OSError."""
    aside = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    while True:
        try:
            write_new(aside, data)
        except FileExistsError:
            aside += "-"
        else:
            return aside


def _open(path: str, create: bool) -> int:
    # O_NONBLOCK: should it be a FIFO, not to wait for whoever holds its other end.
    flags = posix.O_RDWR | posix.O_NONBLOCK | (posix.O_CREAT if create else 0)
    try:
        return posix.open(path, flags, 0o600)
    except FileNotFoundError:
        # A store that is gone while its backup is there was lost, not given up: an empty one is
        # filled from the backup.
        if create or not posix.access(backup_of(path), posix.F_OK):
            raise
        return _open(path, create=True)
    except OSError as problem:
        import errno

        if create or problem.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        # What can only be read still says which conversation to continue.
        return posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK)


def _require_private(file: int, path: str) -> None:
    """Make sure that an open file is a regular one, of this user, that nobody else can read."""
    status = posix.fstat(file)
    if not is_regular(status):
        raise Failure(f"{path} is no regular file: move it away")
    if status.st_uid != posix.geteuid():
        raise Failure(f"{path} belongs to another user: set NSED_SESSION_DIR to your own")
    _tighten(path, status)


def _tighten(path: str, status: "stat_result") -> None:
    """Take away what others may do with a file or directory of this user's."""
    if not status.st_mode & _OTHERS:
        return
    if status.st_uid != posix.geteuid() or status.st_mode & _STICKY:
        return
    try:
        posix.chmod(path, status.st_mode & 0o700)
    except OSError as problem:
        warn(f"{path} is open to others, and that cannot be changed: {problem.strerror}")


class _Replaced(Exception):
    """Another file has taken the path while this one's lock was waited for."""


def _wait_for_lock(file: int, path: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    if not _asks_for_lock(file, deadline) and not _stands_in_line(file, deadline):
        from shim.store import lock_holders

        raise StoreLocked(
            f"{path} stays locked by another process{lock_holders.named_holders(path)}"
        )
    held, there = posix.fstat(file), posix.stat(path)
    if (held.st_ino, held.st_dev) != (there.st_ino, there.st_dev):
        raise _Replaced


def _locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _asks_for_lock(file: int, deadline: float) -> bool:
    """Ask for the lock again and again for a moment: holders mostly need no longer."""
    end = min(time.monotonic() + _ASK_FOR, deadline)
    nap = _SHORTEST_NAP
    while not _locks(file):
        if time.monotonic() >= end:
            return False
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)
    return True


def _stands_in_line(file: int, deadline: float) -> bool:
    """Wait for the lock among all others in the kernel's line.

    Who only asks may never find it free beside processes that stand in line, and flock itself
    knows no time-out. So a child waits: the lock it gets is that of the open file it shares with
    us. (No thread: an exec beside one loses the lease on Linux before 5.11.)
    """
    if time.monotonic() >= deadline:
        return False
    import select

    reading, writing = posix.pipe()
    child = posix.fork()
    if not child:
        _wait_and_exit(file, writing)
    posix.close(writing)
    # It ends, and with it the pipe, as soon as it has the lock.
    # Not select.select: with a thousand files open it has no place for another.
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    has_ended = bool(waiting.poll(max(0, deadline - time.monotonic()) * 1000))
    posix.close(reading)
    if not has_ended:
        posix.kill(child, _signal.SIGKILL)
    try:
        posix.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD: it is gone without a trace
    return has_ended and _locks(file)


def _wait_and_exit(file: int, pipe: int) -> "NoReturn":
    try:
        # Should we be killed, nobody is to wait for the end of an output that the child has open.
        for number in {0, 1, 2} - {file, pipe}:
            _close(number)
        fcntl.flock(file, fcntl.LOCK_EX)
    finally:
        posix._exit(0)


def _close(file: int) -> None:
    try:
        posix.close(file)
    except OSError:
        return  # the caller had closed it


def _reserve(file: int, size: int, wanted: int) -> None:
    """Have the disk give the space now; line ends behind a document leave it valid."""
    try:
        write(file, b"\n" * (wanted - size), size)
    except OSError:
        posix.ftruncate(file, size)
        raise
