"""sessions.json: which session id a room and agent have.

The format, the lock and the permissions are those of NSED's session store, whose Rust processes
use the same file at the same time: `{room: {agent: {"uuid", "last_used"}}}`, an exclusive `flock`
on the file itself for the whole of each change, the file rewritten in place.
"""

import _signal
import fcntl
import posix
import time

from shim import canonical, environment
from shim.canonical import NotCanonical
from shim.report import explain, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result
    from typing import Final, NoReturn, TypeVar

    from shim.document import Document
    from shim.rewriting import Change

    T = TypeVar("T")

FILE_NAME: "Final" = "sessions.json"

# Seconds to wait for the lock. Holders need milliseconds, so one that outlasts this is stuck, and
# no agent should hang for it.
_PATIENCE = 5.0
_ASK_FOR = 0.3
_SHORTEST_NAP = 0.0002
_LONGEST_NAP = 0.005
_TRIES = 20
_OTHERS = 0o077
_STICKY = 0o1000


class StoreError(Exception):
    """The store cannot be used; the message says why, and what to do."""


class Busy(StoreError):
    """Another process has kept the lock for too long."""


def directory(make: bool = True) -> str:
    """The store's directory.

    `NSED_SESSION_DIR`, else `.nsed` in `$HOME` or `%USERPROFILE%`, else one of this user's own
    under the system's temporary directory, with a warning: that one is made. Raises StoreError
    where it is not safely this user's.
    """
    named = environment.get("NSED_SESSION_DIR")
    if named:
        return named
    home = environment.get("HOME") or environment.get("USERPROFILE")
    if home:
        return home + "/.nsed"
    from shim.adding import make_own_directory

    user = environment.get("USER") or environment.get("USERNAME") or "unknown"
    temporary = environment.get("TMPDIR") or "/tmp"
    path = f"{temporary}/nsed-sessions-{user.replace('/', '_')}"
    if make:
        make_own_directory(path)
    warn(f"neither HOME nor USERPROFILE is set: conversations are remembered in {path}")
    return path


class Store:
    """The mappings in one directory. Every method but the constructor may raise StoreError."""

    __slots__ = ("directory", "path", "patience")

    def __init__(self, where: str) -> None:
        self.directory = where
        self.patience = _PATIENCE
        self.path = f"{where}/{FILE_NAME}"

    def recall(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None; an entry counts as used now.

        Where the lock cannot be had, what the file says is taken without it.
        """
        try:
            return self.locked(lambda file: self._find(file, room, agent, touch=True))
        except Busy:
            self.patience = 0.0  # the lock is stuck: no further wait for it
            return self._with_file(
                lambda file: self._find(file, room, agent, touch=False, is_locked=False)
            )

    def get(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None."""
        return self.locked(lambda file: self._find(file, room, agent, touch=False))

    def record(self, room: str, agent: str, session_id: str) -> None:
        """Map a room and agent to a session id, used now."""
        from shim import adding

        adding.make_directory(self.directory)
        self.locked(
            lambda file: adding.record(self.path, file, room, agent, session_id), create=True
        )

    def mappings(self) -> "Document":
        """Every mapping, as the document has it, parsed while nobody waits for it."""
        from shim import adding, document, rewriting

        try:
            return document.parse(self.locked(adding.content) or b"")
        except document.Damaged:
            return self.locked(lambda file: rewriting.load(self.path, file)) or {}

    def change(self, action: "Change") -> None:
        """Let the action change the parsed mappings; the heads it returns go to the history."""
        from shim import adding, rewriting

        adding.make_directory(self.directory)
        self.locked(lambda file: rewriting.change(self.path, file, action), create=True)

    def cleanup_stale(self, max_age: float) -> int:
        """Drop the mappings unused for more than `max_age` seconds, and rooms left empty.

        Returns how many mappings were dropped.
        """
        from shim import dropping

        cutoff = time.time_ns() - int(max_age * 1_000_000_000)
        return dropping.drop(self, dropping.unused_since(self.mappings(), cutoff))

    def locked(self, action: "Callable[[int], T]", create: bool = False) -> "T | None":
        """What the action returns, given the open file and its lock; None where there is no file.

        Waits a bounded time for the lock, then raises Busy.
        """

        def wait_and_act(file: int) -> "T":
            _wait_for_lock(file, self.path, self.patience)
            return action(file)

        for _ in range(_TRIES):
            try:
                return self._with_file(wait_and_act, create)
            except _Replaced:
                continue
        raise StoreError(f"{self.path} is replaced again and again by another program")

    def _find(
        self, file: int, room: str, agent: str, touch: bool, is_locked: bool = True
    ) -> str | None:
        size = posix.fstat(file).st_size
        try:
            entry = canonical.find(file, size, canonical.quote(room), canonical.quote(agent))
            if entry is None:
                return None
            if touch:
                touch_entry(file, entry)
            return entry.session_id
        except NotCanonical:
            from shim import rewriting

            return rewriting.find(self.path, file, room, agent, touch, is_locked)

    def _with_file(self, action: "Callable[[int], T]", create: bool = False) -> "T | None":
        try:
            file = self._open(create)
        except (FileNotFoundError, NotADirectoryError) as problem:
            if create:
                raise StoreError(f"{self.path}: {problem.strerror}") from problem
            return None
        except OSError as problem:
            import errno

            is_no_file = problem.errno in (errno.EISDIR, errno.ELOOP)
            advice = ": move it away" if is_no_file else ""
            raise StoreError(f"{self.path}: {problem.strerror}{advice}") from problem
        try:
            _require_private(file, self.path)
            _tighten(self.directory, posix.stat(self.directory))
            return action(file)
        except OSError as problem:
            raise StoreError(f"{self.path}: {problem.strerror}") from problem
        finally:
            posix.close(file)

    def _open(self, create: bool) -> int:
        # O_NONBLOCK: should it be a FIFO, not to wait for whoever holds its other end.
        flags = posix.O_RDWR | posix.O_NONBLOCK | (posix.O_CREAT if create else 0)
        try:
            return posix.open(self.path, flags, 0o600)
        except FileNotFoundError:
            # A store that is gone while its backup is there was lost, not given up: an empty one
            # is filled from the backup.
            if create or not posix.access(self.path + ".bak", posix.F_OK):
                raise
            return self._open(create=True)
        except OSError as problem:
            import errno

            if create or problem.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # What can only be read still says which conversation to continue.
            return posix.open(self.path, posix.O_RDONLY | posix.O_NONBLOCK)


def touch_entry(file: int, entry: canonical.Entry) -> None:
    """Note in place that an entry is used now. Raises NotCanonical where its time is none."""
    stamp = canonical.renewed(entry.stamp, time.time_ns())
    try:
        posix.pwrite(file, stamp, entry.stamp_at)
    except OSError as problem:
        explain(f"the time of use cannot be noted: {problem.strerror}")


class _Replaced(Exception):
    """Another file has taken the path while this one's lock was waited for."""


def _wait_for_lock(file: int, path: str, patience: float) -> None:
    deadline = time.monotonic() + patience
    if not _asks_for_lock(file, deadline) and not _stands_in_line(file, deadline):
        from shim import locking

        raise Busy(f"{path} stays locked by another process{locking.named_holders(path)}")
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
    has_ended = bool(select.select([reading], [], [], max(0, deadline - time.monotonic()))[0])
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


def _require_private(file: int, path: str) -> None:
    """Make sure that an open file is a regular one, of this user, that nobody else can read."""
    status = posix.fstat(file)
    if not environment.is_regular(status):
        raise StoreError(f"{path} is no regular file: move it away")
    if status.st_uid != posix.geteuid():
        raise StoreError(f"{path} belongs to another user: set NSED_SESSION_DIR to your own")
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
