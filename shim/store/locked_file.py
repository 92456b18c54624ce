"""sessions.json as a file: opening, locking and writing it so that no change is lost.

The lock is an exclusive `flock` on the file itself, for the whole of each change. The file is
written in place, because others wait for its lock, and a kill or a power cut at any instant loses
nothing: what is torn is seen as such, and the backup beside it has the mappings.
"""

import _signal
import errno
import fcntl
import posix
import time

from shim.base.files import content, is_regular, replace, write, write_new
from shim.base.messages import EXIT_BUSY, Failure, explain, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result
    from typing import Final, NoReturn, TypeVar

    T = TypeVar("T")

# Takes the place of the document's `{` while the document is rewritten: no parser accepts it then,
# and the backup has what the document will be.
TORN: "Final" = b"!"

# Seconds to wait for the lock. Its holders need milliseconds, so one that keeps it for longer is
# stuck, and no agent should hang for it.
TIMEOUT: "Final" = 5.0
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
    path: str, action: "Callable[[int], T]", create: bool = False, timeout: float = TIMEOUT
) -> "T | None":
    """What the action returns, given the open file with its lock; None if there is no file.

    Waits up to `timeout` seconds for the lock, then raises StoreLocked. Raises Failure if the file
    cannot be used.
    """

    def wait_and_act(file: int) -> "T":
        _wait_for_lock(file, path, timeout)
        return action(file)

    for _ in range(_TRIES):
        try:
            return with_file(path, wait_and_act, create)
        except _Replaced:
            continue
    raise Failure(f"{path} is replaced again and again by another program")


def with_file(path: str, action: "Callable[[int], T]", create: bool = False) -> "T | None":
    """What the action returns, given the open file without a lock; None if there is no file.

    Raises Failure if the file cannot be used.
    """
    try:
        file = _open(path, create)
    except (FileNotFoundError, NotADirectoryError) as problem:
        if create:
            raise Failure(f"{path}: {problem.strerror}") from problem
        return None
    except OSError as problem:
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
    """Make the open, locked file hold a new document.

    The backup is on disk before the file is touched, and the mark of a torn file before the rest:
    a power cut keeps any mixture of old and new blocks of 4 KiB, and one of two documents can be a
    valid third (help facts, "Disk"). Raises OSError: before the file is touched if the disk is
    full, and at worst with the file torn and the backup whole.
    """
    replace(backup_of(path), data)
    _reserve(file, len(data))
    write(file, TORN, 0)
    posix.fsync(file)
    write(file, data[1:], 1)
    posix.ftruncate(file, len(data))
    posix.fsync(file)
    write(file, data[:1], 0)


def append(path: str, file: int, text: bytes, at: int, is_durable: bool) -> None:
    """Write a text over the end of the open, locked file, and over that of its backup.

    Both must hold the same document, or none. Nothing else moves, so that a power cut can tear only
    what is added; `is_durable` says that it must be on disk, because it could not be derived again.
    Raises OSError: before the file is touched if the disk is full.
    """
    _reserve(file, at + len(text))
    write(file, text, at)
    if is_durable:
        posix.fsync(file)
    with_backup(path, lambda backup: _append_to_backup(backup, text, at))


def _append_to_backup(backup: int, text: bytes, at: int) -> None:
    _reserve(backup, at + len(text))
    write(backup, text, at)


def with_backup(path: str, action: "Callable[[int], T]", create: bool = True) -> "T | None":
    """What the action returns, given the open backup; None if that cannot be read or written."""
    try:
        how = posix.O_RDWR | (posix.O_CREAT if create else 0)
        backup = posix.open(backup_of(path), how, 0o600)
    except OSError as problem:
        if create:
            explain(f"{backup_of(path)} cannot be written: {problem.strerror}")
        return None
    try:
        return action(backup)
    except OSError as problem:
        explain(f"{backup_of(path)} cannot be written: {problem.strerror}")
        return None
    finally:
        posix.close(backup)


def backup(path: str) -> bytes:
    """The content of a document's backup; empty if there is none. Raises OSError."""
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
    """The path of a document's backup."""
    return path + ".bak"


def is_full(file: int) -> bool:
    """Whether the filesystem may have no space for an open document and its backup anew."""
    space = posix.fstatvfs(file)
    return space.f_bavail * space.f_frsize < 2 * posix.fstat(file).st_size


def keep_aside(path: str, data: bytes) -> str:
    """Write damaged content beside the document, and return its path. Raises OSError."""
    aside = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    while True:
        try:
            write_new(aside, data)
        except FileExistsError:
            aside += "-"
        else:
            return aside


def _open(path: str, create: bool) -> int:
    # O_NONBLOCK: not to wait for the other end of a FIFO.
    flags = posix.O_RDWR | posix.O_NONBLOCK | (posix.O_CREAT if create else 0)
    try:
        return posix.open(path, flags, 0o600)
    except FileNotFoundError:
        # A store that is missing while its backup exists was lost, not deleted: an empty one is
        # filled from the backup.
        if create or not posix.access(backup_of(path), posix.F_OK):
            raise
        return _open(path, create=True)
    except OSError as problem:
        if create or problem.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise
        # A file that can only be read still names the conversation to resume.
        return posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK)


def _require_private(file: int, path: str) -> None:
    """Check that an open file is a regular one of this user, and that nobody else can read it."""
    status = posix.fstat(file)
    if not is_regular(status):
        raise Failure(f"{path} is no regular file: move it away")
    if status.st_uid != posix.geteuid():
        raise Failure(f"{path} belongs to another user: set NSED_SESSION_DIR to your own")
    _tighten(path, status)


def _tighten(path: str, status: "stat_result") -> None:
    """Remove the permissions of others from a file or directory of this user."""
    if not status.st_mode & _OTHERS:
        return
    if status.st_uid != posix.geteuid() or status.st_mode & _STICKY:
        return
    try:
        posix.chmod(path, status.st_mode & 0o700)
    except OSError as problem:
        warn(f"{path} is open to others, and that cannot be changed: {problem.strerror}")


class _Replaced(Exception):
    """Another file took the path while this process waited for the lock."""


def _wait_for_lock(file: int, path: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    if not _polls_for_lock(file, deadline) and not _queues_for_lock(file, deadline):
        from shim.store import lock_holders

        raise StoreLocked(
            f"{path} stays locked by another process{lock_holders.named_holders(path)}"
        )
    own, there = posix.fstat(file), posix.stat(path)
    if (own.st_ino, own.st_dev) != (there.st_ino, there.st_dev):
        raise _Replaced


def _locks(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _polls_for_lock(file: int, deadline: float) -> bool:
    """Try to lock again and again for a moment: most holders need no longer."""
    end = min(time.monotonic() + _ASK_FOR, deadline)
    nap = _SHORTEST_NAP
    while not _locks(file):
        if time.monotonic() >= end:
            return False
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)
    return True


def _queues_for_lock(file: int, deadline: float) -> bool:
    """Wait for the lock in the kernel's queue, up to a deadline.

    A process that polls, as filelock does, may never find it free beside others that queue, such
    as NSED's; and flock itself has no time-out. So a child queues: the lock it gets is that of the
    open file, which it shares with this process. (A thread would not do: an exec beside one loses
    the lock on Linux before 5.11.)
    """
    if time.monotonic() >= deadline:
        return False
    import select

    reading, writing = posix.pipe()
    child = posix.fork()
    if not child:
        _wait_and_exit(file, writing)
    posix.close(writing)
    # The child ends, and closes the pipe, as soon as it has the lock. Not select.select: that has
    # no room for descriptors beyond 1,023.
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    has_ended = bool(waiting.poll(max(0, deadline - time.monotonic()) * 1000))
    posix.close(reading)
    if not has_ended:
        posix.kill(child, _signal.SIGKILL)
    try:
        posix.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD: the kernel has reaped the child
    return has_ended and _locks(file)


def _wait_and_exit(file: int, pipe: int) -> "NoReturn":
    try:
        # If this process is killed, nobody must wait for the end of an output that the child has.
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


def _reserve(file: int, wanted: int) -> None:
    """Reserve space on the disk for so many bytes; line ends behind a document leave it valid."""
    size = posix.fstat(file).st_size
    if wanted <= size:
        return
    try:
        write(file, b"\n" * (wanted - size), size)
    except OSError:
        posix.ftruncate(file, size)
        raise
