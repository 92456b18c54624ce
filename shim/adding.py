"""A new mapping, added to sessions.json without a parse, and what has to be there for it."""

import os
import stat
import time

from shim import canonical, safe_write
from shim.canonical import NotCanonical
from shim.store import StoreError, touch_entry


def record(path: str, file: int, room: str, agent: str, session_id: str) -> None:
    """Map a room and agent to a session id, used now, in the open, locked file. Raises OSError."""
    quoted = canonical.quote(room), canonical.quote(agent)
    try:
        entry = canonical.find(file, os.fstat(file).st_size, *quoted)
        if entry is not None and entry.session_id == session_id:
            touch_entry(file, entry)
            return
        if entry is not None:
            raise NotCanonical  # another id may have another width
        stamp = canonical.timestamp(time.time_ns())
        added = canonical.quote(session_id)[1:-1]
        data = canonical.inserted(content(file), *quoted, added, stamp)
    except NotCanonical:
        from shim import rewriting

        data = rewriting.recorded(path, file, room, agent, session_id)
    safe_write.commit(path, file, data)


def content(file: int) -> bytes:
    """All that an open file holds."""
    size = os.fstat(file).st_size
    pieces = []
    at = 0
    while at < size and (piece := os.pread(file, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def make_directory(path: str) -> None:
    """Make sure that the store's directory is there and this user's alone. Raises StoreError."""
    try:
        _make_directories(path)
        status = os.stat(path)
    except OSError as problem:
        raise StoreError(f"{path}: {problem.strerror}") from problem
    if status.st_uid != os.geteuid() or status.st_mode & stat.S_ISVTX:
        raise StoreError(f"{path} is not yours alone: set NSED_SESSION_DIR to a directory that is")


def make_own_directory(path: str) -> None:
    """Make sure that a directory under a shared one is this user's. Raises StoreError."""
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
