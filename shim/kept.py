"""The folder of kept conversations: linking them, putting them back, dropping them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import time
from typing import TYPE_CHECKING

from shim import cleanup, keep, transcripts

if TYPE_CHECKING:
    from collections.abc import Iterator

ENDING = ".jsonl"
UNFINISHED = ".new"
# Beside the transcript's own name, in claude's project: claude passes over what has this ending.
PUTTING_BACK = ".putting-back"

_DAY = 86400.0
# A file whose time is this far ahead, in seconds, says that the clock is wrong.
_AHEAD = 3600.0

# What a filesystem answers where it has no hard links, is another one, or has too many of one.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def keep_up(store: str, session_id: str, transcript: str) -> None:
    """Make the kept file the transcript's link, also where another file took its place, or a copy.

    A kill at any instant leaves the kept file as it was or as it is to be. Raises OSError.
    """
    kept = keep.path(store, session_id)
    _note_origin(kept, transcript)
    if _is_same(kept, transcript):
        return
    unfinished = f"{kept}{UNFINISHED}"
    _remove(unfinished)
    try:
        os.link(transcript, unfinished)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        if not _is_copy(kept, transcript):
            _copy(transcript, kept, unfinished)
        return
    os.replace(unfinished, kept)


def put_back(store: str, session_id: str) -> bool:
    """Give the conversation its transcript back, as used now, if claude's clean-up took it.

    If a person deleted it, drop the kept file. Returns whether there is a transcript now. Raises
    OSError.
    """
    with locked(store):
        target = to_put_back(store, session_id)
        if target is None:
            drop(store, session_id)
            return False
        _put_back(keep.path(store, session_id), target)
        return True


def to_put_back(store: str, session_id: str) -> str | None:
    """Where the transcript of a kept conversation is to be put back.

    None where a person deleted it, or it is kept no longer.
    """
    try:
        idle = time.time() - os.stat(keep.path(store, session_id)).st_mtime
    except FileNotFoundError:
        return None
    target = origin(store, session_id)
    was_begun = os.path.lexists(target + PUTTING_BACK)
    was_taken = idle >= cleanup.period(target) * _DAY or idle < -_AHEAD
    return target if was_begun or was_taken or os.path.lexists(target) else None


def review(store: str, session_id: str, projects: str) -> None:
    """Drop the kept file of a conversation without a transcript, if a person deleted that.

    What a killed call has begun to put back is put back. Raises OSError.
    """
    with locked(store):
        target = to_put_back(store, session_id)
        if target and os.path.lexists(target + PUTTING_BACK):
            _put_back(keep.path(store, session_id), target)
        elif target is None and not any(transcripts.copies(projects, session_id + ENDING)):
            drop(store, session_id)


def origin(store: str, session_id: str) -> str:
    """Where the transcript of a kept conversation was: in its project."""
    try:
        return os.readlink(keep.origin_of(keep.path(store, session_id)))
    except OSError:
        project = transcripts.project_name(os.getcwd())
        return f"{transcripts.projects_directory()}/{project}/{session_id}{ENDING}"


def drop(store: str, session_id: str) -> None:
    """Remove the kept file, and then what says where it is from. Raises OSError."""
    kept = keep.path(store, session_id)
    _remove(kept)
    _remove(keep.origin_of(kept))


@contextlib.contextmanager
def locked(store: str) -> Iterator[None]:
    """Decide alone over what is put back and what is dropped. Raises OSError."""
    folder = os.open(f"{store}/{keep.FOLDER}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A filesystem without locks on directories: decisions are made in microseconds.
        with contextlib.suppress(OSError):
            fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _put_back(kept: str, target: str) -> None:
    """Make the transcript a link to the kept file, or a copy of it, written now.

    Its time is set before it has its own name: under that, claude could clean it up at once. A
    kill leaves the other name, which says that it is to be put back.
    """
    beside = target + PUTTING_BACK
    if not os.path.lexists(target):  # else another call was faster
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        _link_or_copy(kept, beside)
        os.utime(beside)
        os.rename(beside, target)
        os.utime(kept)  # where it is a copy
    _remove(beside)


def _link_or_copy(kept: str, beside: str) -> None:
    if _is_same(kept, beside):
        return
    _remove(beside)
    try:
        os.link(kept, beside)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        _copy(kept, beside, f"{beside}{UNFINISHED}")


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def _copy(source: str, target: str, unfinished: str) -> None:
    try:
        shutil.copy2(source, unfinished)
        os.chmod(unfinished, 0o600)
        os.replace(unfinished, target)
    except OSError:
        _remove(unfinished)
        raise


def _is_copy(kept: str, transcript: str) -> bool:
    original = os.stat(transcript)
    try:
        status = os.stat(kept)
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (original.st_size, original.st_mtime_ns)


def _note_origin(kept: str, transcript: str) -> None:
    transcript = os.path.abspath(transcript)
    note = keep.origin_of(kept)
    with contextlib.suppress(OSError):
        if os.readlink(note) == transcript:
            return
    os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
    _remove(note + UNFINISHED)
    os.symlink(transcript, note + UNFINISHED)
    os.replace(note + UNFINISHED, note)


def _remove(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
