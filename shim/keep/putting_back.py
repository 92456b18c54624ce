"""The folder of kept conversations: linking them, putting them back, dropping them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import stat
import time
from typing import TYPE_CHECKING

from shim.base.messages import explain
from shim.claude import cleanup, transcripts
from shim.keep import folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

UNFINISHED = ".new"
# Beside the transcript's own name, in claude's project: claude passes over what has this ending.
PUTTING_BACK = ".putting-back"
_JOINING = ".joining"

_DAY = 86400.0
# A file whose time is this far ahead, in seconds, says that the clock is wrong.
_AHEAD = 3600.0
# Seconds to wait for who decides at the same time, which takes milliseconds.
_PATIENCE = 5.0
_NAP = 0.005
# A copy is written by nobody: its mode tells it from a link.
_OF_A_COPY = 0o400
_OF_A_TRANSCRIPT = 0o600
# Two transcripts of one conversation begin with the same line, which has a time in it.
_BEGINNING = 4096

# What a filesystem answers where it has no hard links, is another one, or has too many of one.
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


def keep_up(store: str, session_id: str, transcript: str) -> None:
    """Make the kept file the transcript's link, also where another file took its place, or a copy.

    A kept file that has more than the transcript stays: the next call joins them. A kill at any
    instant leaves it as it was or as it is to be. Raises OSError.
    """
    kept = folder.path(store, session_id)
    _note_origin(kept, transcript)
    if _is_same(kept, transcript) or _is_more(kept, transcript):
        return
    unfinished = kept + UNFINISHED
    _remove(unfinished)
    try:
        os.link(transcript, unfinished)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        if not _is_copied(kept, transcript):
            _copy(transcript, kept, _OF_A_COPY)
        return
    os.replace(unfinished, kept)
    _remove(unfinished)  # where both were links to one file already, a rename does nothing


def join(store: str, session_id: str, transcript: str) -> None:
    """Give a transcript back the turns that only the kept file has any more.

    Claude's clean-up deletes the transcript of a claude that is live, too, if it was idle for long;
    with its next turn that claude starts a new one. Called with the conversation's lease. Raises
    OSError.
    """
    kept = folder.path(store, session_id)
    with locked(store):
        if _is_more(kept, transcript) and not _begin_alike(kept, transcript):
            explain(f"{transcript} lacks earlier turns, which are kept: they are joined")
            _join(kept, transcript)
    keep_up(store, session_id, transcript)


def begin_to_put_back(store: str, session_id: str) -> None:
    """Have a kept conversation put back for certain: its transcript is there, but of no use.

    Raises OSError.
    """
    kept = folder.path(store, session_id)
    with locked(store):
        if os.path.exists(kept) and transcripts.resumable(kept) is not None:
            target = place(store, session_id)
            _link_or_copy(kept, target + PUTTING_BACK)


def put_back(store: str, session_id: str) -> None:
    """Give the conversation its transcript back, as used now, if claude's clean-up took it.

    If a person deleted it, drop the kept file. Raises OSError.
    """
    with locked(store):
        target = to_put_back(store, session_id)
        if target is not None:
            _put_back(store, session_id, target)
            return
        try:
            drop(store, session_id)
        except OSError as problem:
            explain(f"the kept conversation {session_id} stays: {problem.strerror}")


def to_put_back(store: str, session_id: str) -> str | None:
    """Where the transcript of a kept conversation is to be put back, if it is not there.

    None where a person deleted it, or it is kept no longer. Raises OSError where that cannot be
    told.
    """
    kept = folder.path(store, session_id)
    try:
        status = os.stat(kept)
    except FileNotFoundError:
        return None
    target = place(store, session_id)
    if transcripts.resumable(kept) is None:
        return None
    if _is_there(target) or os.path.lexists(target + PUTTING_BACK):
        return target
    return target if _was_taken(kept, status, origin(store, session_id)) else None


def _was_taken(kept: str, status: os.stat_result, transcript: str) -> bool:
    """Whether claude's clean-up, and no person, deleted the transcript."""
    # Of a link, the last change is the deletion of the other one; of a copy nobody knows when.
    is_copy = not status.st_mode & stat.S_IWUSR
    idle = (time.time() if is_copy else status.st_ctime) - status.st_mtime
    return idle < -_AHEAD or cleanup.took(idle / _DAY, transcript, kept)


def review(store: str, session_id: str, projects: Iterable[str]) -> None:
    """Drop the kept file of a conversation without a transcript, if a person deleted that.

    What a killed call has begun to put back is put back. Raises OSError.
    """
    with locked(store):
        target = to_put_back(store, session_id)
        name = session_id + folder.ENDING
        if target is None:
            if not any(any(transcripts.copies(where, name)) for where in projects):
                drop(store, session_id)
        elif os.path.lexists(target + PUTTING_BACK):
            _put_back(store, session_id, target)


def origin(store: str, session_id: str) -> str:
    """Where the transcript of a kept conversation was: in its project."""
    try:
        return os.readlink(folder.origin_of(folder.path(store, session_id)))
    except OSError:
        project = transcripts.project_name(os.getcwd())
        return f"{transcripts.projects_directory()}/{project}/{session_id}{folder.ENDING}"


def place(store: str, session_id: str) -> str:
    """Where its transcript is, or belongs: the same project in claude's directory of today."""
    was = origin(store, session_id)
    if _is_there(was) or os.path.lexists(was + PUTTING_BACK):
        return was
    project, name = was.split("/")[-2:]
    return f"{os.path.abspath(transcripts.projects_directory())}/{project}/{name}"


def drop(store: str, session_id: str) -> None:
    """Remove the kept file, and then what says where it is from. Raises OSError."""
    kept = folder.path(store, session_id)
    for path in (kept, kept + UNFINISHED, folder.origin_of(kept)):
        _remove(path)


@contextlib.contextmanager
def locked(store: str) -> Iterator[None]:
    """Decide alone over what is put back and what is dropped.

    Raises OSError, TimeoutError where another process does not get done.
    """
    directory = os.open(f"{store}/{folder.NAME}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _wait_for_lock(directory)
        yield
    finally:
        os.close(directory)


def _wait_for_lock(directory: int) -> None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            fcntl.flock(directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "the kept conversations stay locked") from None
            time.sleep(_NAP)
        except OSError:
            return  # a filesystem without locks on directories: decisions take microseconds


def _put_back(store: str, session_id: str, target: str) -> None:
    """Make the transcript a link to the kept file, or a copy of it, written now.

    Its time is set before it has its own name: under that, claude could clean it up at once. A
    kill leaves the other name, which says that it is to be put back.
    """
    kept = folder.path(store, session_id)
    beside = target + PUTTING_BACK
    if not _is_there(target):  # else another call was faster
        explain(f"{target} is put back")
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        with contextlib.suppress(OSError):  # of a store that cannot be written
            _note_origin(kept, target)
        _link_or_copy(kept, beside)
        os.utime(beside)
        os.rename(beside, target)
        with contextlib.suppress(OSError):
            os.utime(kept)  # where it is a copy
    _remove(beside)


def _link_or_copy(kept: str, beside: str) -> None:
    if _is_same(kept, beside):
        return
    _remove(beside)
    try:
        os.link(kept, beside)
    except OSError as problem:
        if problem.errno not in (*_NO_LINKS, errno.EROFS):
            raise
        _copy(kept, beside, _OF_A_TRANSCRIPT)


def _join(kept: str, transcript: str) -> None:
    unfinished = transcript + _JOINING
    try:
        with (
            open(kept, "rb") as earlier,
            open(transcript, "rb") as later,
            open(unfinished, "wb") as joined,
        ):
            os.fchmod(joined.fileno(), _OF_A_TRANSCRIPT)
            shutil.copyfileobj(earlier, joined)
            earlier.seek(-1, os.SEEK_END)
            if earlier.read() != b"\n":
                joined.write(b"\n")
            shutil.copyfileobj(later, joined)
        os.replace(unfinished, transcript)
    except OSError:
        _remove(unfinished)
        raise


def _begin_alike(kept: str, transcript: str) -> bool:
    with open(kept, "rb") as one, open(transcript, "rb") as other:
        beginnings = one.read(_BEGINNING), other.read(_BEGINNING)
    length = min(map(len, beginnings))
    return beginnings[0][:length] == beginnings[1][:length]


def _is_more(kept: str, transcript: str) -> bool:
    """Whether the kept file has turns that the transcript lacks, and that no person deleted."""
    try:
        status = os.stat(kept)
        is_longer = status.st_size > os.path.getsize(transcript)
        is_other = is_longer or not _begin_alike(kept, transcript)
    except FileNotFoundError:
        return False
    was_taken = is_other and _was_taken(kept, status, transcript)
    return was_taken and transcripts.resumable(kept) is not None


def _is_there(path: str) -> bool:
    """Whether there is a file. Raises OSError where it cannot be seen: that is no deletion."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _is_same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def _is_copied(kept: str, transcript: str) -> bool:
    original = os.stat(transcript)
    try:
        status = os.stat(kept)
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (original.st_size, original.st_mtime_ns)


def _copy(source: str, target: str, mode: int) -> None:
    unfinished = target + UNFINISHED
    try:
        shutil.copy2(source, unfinished)
        os.chmod(unfinished, mode)
        os.replace(unfinished, target)
    except OSError:
        _remove(unfinished)
        raise


def _note_origin(kept: str, transcript: str) -> None:
    transcript = os.path.abspath(transcript)
    note = folder.origin_of(kept)
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
