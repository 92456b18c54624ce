"""sessions.json: which session id a room and agent have.

The format, the lock and the permissions are those of NSED's session store, whose Rust processes
use the same file at the same time: `{room: {agent: {"uuid", "last_used"}}}`, an exclusive `flock`
on the file itself for the whole of each change, the file rewritten in place.
"""

import errno
import fcntl
import os
import stat
import time

from shim import canonical
from shim.canonical import NotCanonical
from shim.report import explain, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from shim.document import Document

    T = TypeVar("T")

FILE_NAME: "Final" = "sessions.json"

# Seconds to wait for the lock. Holders need milliseconds, so one that outlasts this is stuck, and
# no agent should hang for it.
_PATIENCE = 5.0
_SHORTEST_NAP = 0.0002
_LONGEST_NAP = 0.005
_OTHERS = 0o077


class StoreError(Exception):
    """The store cannot be used; the message says why, and what to do."""


class Busy(StoreError):
    """Another process has kept the lock for too long."""


def directory() -> str:
    """The store's directory.

    `NSED_SESSION_DIR`, else `.nsed` in `$HOME` or `%USERPROFILE%`, else one of this user's own
    under the system's temporary directory, with a warning. Raises StoreError where that one is
    not safely this user's.
    """
    named = os.environ.get("NSED_SESSION_DIR")
    if named:
        return named
    home = os.environ.get("HOME") or os.environ.get("USERPROFILE")
    if home:
        return os.path.join(home, ".nsed")
    user = os.environ.get("USER") or os.environ.get("USERNAME") or "unknown"
    temporary = os.environ.get("TMPDIR") or "/tmp"
    path = os.path.join(temporary, "nsed-sessions-" + user.replace("/", "_"))
    _make_own_directory(path)
    warn(f"neither HOME nor USERPROFILE is set: conversations are remembered in {path}")
    return path


class Store:
    """The mappings in one directory. Every method but the constructor may raise StoreError."""

    __slots__ = ("directory", "path")

    def __init__(self, where: str) -> None:
        self.directory = where
        self.path = os.path.join(where, FILE_NAME)

    def recall(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None; an entry counts as used now.

        Where the lock cannot be had, what the file says is taken without it.
        """
        try:
            return self._locked(lambda file: self._find(file, room, agent, touch=True))
        except Busy:
            return self._with_file(lambda file: self._find(file, room, agent, touch=False))

    def get(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None."""
        return self._locked(lambda file: self._find(file, room, agent, touch=False))

    def record(self, room: str, agent: str, session_id: str) -> None:
        """Map a room and agent to a session id, used now."""
        self._make_directory()
        self._locked(lambda file: self._record(file, room, agent, session_id), create=True)

    def mappings(self) -> "Document":
        """Every mapping, as the document has it, parsed while nobody waits for it."""
        from shim import document

        try:
            return document.parse(self._locked(_content) or b"")
        except document.Damaged:
            return self._locked(self._load) or {}

    def cleanup_stale(self, max_age: float) -> int:
        """Drop the mappings unused for more than `max_age` seconds, and rooms left empty.

        Returns how many mappings were dropped. Nobody waits for a search that drops nothing.
        """
        cutoff = time.time_ns() - int(max_age * 1_000_000_000)
        if not _without_stale(self.mappings(), cutoff)[1]:
            return 0
        return self._locked(lambda file: self._drop_stale(file, cutoff)) or 0

    def _find(self, file: int, room: str, agent: str, touch: bool) -> str | None:
        size = os.fstat(file).st_size
        try:
            entry = canonical.find(file, size, canonical.quote(room), canonical.quote(agent))
            if entry is None:
                return None
            if touch:
                self._touch(file, entry)
            return entry.session_id
        except NotCanonical:
            return self._find_parsed(file, room, agent, touch)

    def _touch(self, file: int, entry: canonical.Entry) -> None:
        try:
            os.pwrite(file, canonical.renewed(entry.stamp, time.time_ns()), entry.stamp_at)
        except OSError as problem:
            explain(f"{self.path}: cannot note the time of use: {problem.strerror}")

    def _find_parsed(self, file: int, room: str, agent: str, touch: bool) -> str | None:
        document = self._load(file)
        entry = document.get(room, {}).get(agent)
        if entry is None:
            return None
        if touch:
            from shim.document import now

            entry["last_used"] = now()
            self._try_to_commit(file, document)
        return str(entry["uuid"])

    def _record(self, file: int, room: str, agent: str, session_id: str) -> None:
        from shim import safe_write

        size = os.fstat(file).st_size
        quoted = canonical.quote(room), canonical.quote(agent)
        try:
            entry = canonical.find(file, size, *quoted)
            if entry is not None and entry.session_id == session_id:
                self._touch(file, entry)
                return
            if entry is not None:
                raise NotCanonical  # another id may have another width
            stamp = canonical.timestamp(time.time_ns())
            added = canonical.quote(session_id)[1:-1]
            data = canonical.inserted(_content(file), *quoted, added, stamp)
        except NotCanonical:
            data = self._recorded_parsed(file, room, agent, session_id)
        safe_write.commit(self.path, file, data)

    def _recorded_parsed(self, file: int, room: str, agent: str, session_id: str) -> bytes:
        from shim.document import dump, now

        document = self._load(file)
        entries = document.setdefault(room, {})
        entries[agent] = {**entries.get(agent, {}), "uuid": session_id, "last_used": now()}
        return dump(document)

    def _drop_stale(self, file: int, cutoff: int) -> int:
        from shim import safe_write
        from shim.document import dump

        document, dropped = _without_stale(self._load(file), cutoff)
        if dropped:
            safe_write.commit(self.path, file, dump(document))
        return dropped

    def _load(self, file: int) -> "Document":
        """The parsed document; one that is damaged is kept aside and mended from its backup."""
        from shim import document, safe_write

        data = _content(file)
        try:
            if data.strip():
                return document.parse(data)
            problem = "it is empty"
        except document.Damaged as damage:
            problem = str(damage)
        try:
            backup = document.parse(safe_write.backup(self.path))
        except document.Damaged:
            backup = {}
        if not data.strip() and not backup:
            return {}
        if backup and data.startswith(safe_write.TORN):
            mended = backup
        else:
            mended = document.merge(document.salvage(data), backup)
        self._mend(file, data, mended, problem)
        return mended

    def _mend(self, file: int, data: bytes, mended: "Document", problem: str) -> None:
        from shim import safe_write

        kept = ""
        if data.strip():
            try:
                kept = f"; what it held is kept as {safe_write.keep_aside(self.path, data)}"
            except OSError as reason:
                warn(f"{self.path} is damaged: {problem}; left as it is ({reason.strerror})")
                return
        count = sum(map(len, mended.values()))
        warn(f"{self.path} is damaged: {problem}; {count} mappings were recovered{kept}")
        self._try_to_commit(file, mended)

    def _try_to_commit(self, file: int, document: "Document") -> None:
        from shim import safe_write
        from shim.document import dump

        try:
            safe_write.commit(self.path, file, dump(document))
        except OSError as problem:
            explain(f"{self.path}: cannot be written: {problem.strerror}")

    def _locked(self, action: "Callable[[int], T]", create: bool = False) -> "T | None":
        """What the action returns, given the open file and its lock; None where there is no file.

        Waits a bounded time for the lock, then raises Busy.
        """

        def wait_and_act(file: int) -> "T":
            _wait_for_lock(file, self.path)
            return action(file)

        while True:
            try:
                return self._with_file(wait_and_act, create)
            except _Replaced:
                continue

    def _with_file(self, action: "Callable[[int], T]", create: bool = False) -> "T | None":
        try:
            file = self._open(create)
        except (FileNotFoundError, NotADirectoryError) as problem:
            if create:
                raise StoreError(f"{self.path}: {problem.strerror}") from problem
            return None
        except OSError as problem:
            raise StoreError(f"{self.path}: {problem.strerror}") from problem
        try:
            _require_private(file, self.path)
            _tighten(self.directory, os.stat(self.directory))
            return action(file)
        except OSError as problem:
            raise StoreError(f"{self.path}: {problem.strerror}") from problem
        finally:
            os.close(file)

    def _open(self, create: bool) -> int:
        # O_NONBLOCK: should it be a FIFO, not to wait for whoever holds its other end.
        flags = os.O_NONBLOCK | (os.O_CREAT if create else 0)
        try:
            return os.open(self.path, os.O_RDWR | flags, 0o600)
        except FileNotFoundError:
            # A store that is gone while its backup is there was lost, not given up: an empty one
            # is filled from the backup.
            if create or not os.path.exists(self.path + ".bak"):
                raise
            return self._open(create=True)
        except OSError as problem:
            if problem.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # What can only be read still says which conversation to continue.
            return os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)

    def _make_directory(self) -> None:
        try:
            _make_directories(self.directory)
            _require_own_directory(self.directory)
        except OSError as problem:
            raise StoreError(f"{self.directory}: {problem.strerror}") from problem


class _Replaced(Exception):
    """Another file has taken the path while this one's lock was waited for."""


def _wait_for_lock(file: int, path: str) -> None:
    # Asked for again and again rather than waited for: a blocking flock has no time-out.
    deadline = time.monotonic() + _PATIENCE
    nap = _SHORTEST_NAP
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise Busy(
                    f"{path} has been locked by another process for {_PATIENCE:.0f} s"
                ) from None
        time.sleep(nap)
        nap = min(2 * nap, _LONGEST_NAP)
    if not os.path.samestat(os.fstat(file), os.stat(path)):
        raise _Replaced


def _require_private(file: int, path: str) -> None:
    """Make sure that an open file is a regular one, of this user, that nobody else can read."""
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise StoreError(f"{path} is no regular file: move it away")
    if status.st_uid != os.geteuid():
        raise StoreError(f"{path} belongs to another user: set NSED_SESSION_DIR to your own")
    _tighten(path, status)


def _require_own_directory(path: str) -> None:
    status = os.stat(path)
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX:
        raise StoreError(f"{path} is not yours alone: set NSED_SESSION_DIR to a directory that is")


def _tighten(path: str, status: os.stat_result) -> None:
    """Take away what others may do with a file or directory of this user's."""
    shared = status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX
    if status.st_mode & _OTHERS and not shared:
        try:
            os.chmod(path, status.st_mode & 0o700)
        except OSError as problem:
            warn(f"{path} is open to others, and that cannot be changed: {problem.strerror}")


def _make_own_directory(path: str) -> None:
    """Make sure that a directory under a shared one is this user's, made here if need be."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as problem:
        raise StoreError(f"{path}: {problem.strerror}; set HOME or NSED_SESSION_DIR") from problem
    status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        raise StoreError(f"{path} is not your own directory: set HOME or NSED_SESSION_DIR")


def _make_directories(path: str) -> None:
    if os.path.isdir(path):
        return
    _make_directories(os.path.dirname(os.path.abspath(path)))
    try:
        os.mkdir(path)
        os.chmod(path, 0o700)  # whatever the umask
    except FileExistsError:
        if not os.path.isdir(path):
            raise


def _content(file: int) -> bytes:
    size = os.fstat(file).st_size
    pieces = []
    at = 0
    while at < size and (piece := os.pread(file, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def _without_stale(document: "Document", cutoff: int) -> "tuple[Document, int]":
    """The mappings used since a time in nanoseconds, and how many others there are."""
    from shim.document import nanoseconds

    kept: Document = {}
    dropped = 0
    for room, entries in document.items():
        for agent, entry in entries.items():
            if (nanoseconds(entry["last_used"]) or 0) >= cutoff:
                kept.setdefault(room, {})[agent] = entry
            else:
                dropped += 1
    return kept, dropped
