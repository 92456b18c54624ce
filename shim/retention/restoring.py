"""The folder of kept conversations: linking them, putting them back, dropping them."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from typing import TYPE_CHECKING

from shim.base import files, times
from shim.base.messages import explain
from shim.claude import cleanup, lineage, transcripts
from shim.retention import compressed, hard_links, pins, sidecars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Beside the transcript's own name, in claude's project: claude passes over what has this ending.
RESTORING = ".putting-back"
_JOINING = ".joining"

# A file whose time is this far ahead, in seconds, says that the clock is wrong.
_AHEAD = 3600.0
# Seconds to wait for who decides at the same time, which takes milliseconds.
_PATIENCE = 5.0
_NAP = 0.005
# A copy is written by nobody: its mode tells it from a link.
_OF_A_COPY = 0o400
_OF_A_TRANSCRIPT = 0o600


def update_pin(store: str, session_id: str, transcript: str) -> bool:
    """Make the kept file the transcript's link, or a copy; whether it is.

    A kept file that has anything the transcript lacks stays, unless a person deleted its own. So
    does the link of another account's. A kill at any instant leaves it as it was or as it is to be.
    Raises OSError.
    """
    kept = pins.path(store, session_id)
    if not hard_links.is_same(kept, transcript):
        if os.path.exists(kept) and not (
            hard_links.is_current_copy(transcript, kept)
            or lineage.of(transcript).has_all_of(lineage.of(kept))
            or _was_deleted(kept, origin(store, session_id), is_replaced=True)
        ):
            return False
        pins.note(pins.origin_of(kept), os.path.abspath(transcript))
        hard_links.link_or_copy(transcript, kept, _OF_A_COPY)
    pins.note(pins.origin_of(kept), os.path.abspath(transcript))
    if hard_links.is_same(kept, transcript):
        pins.note(pins.link_of(kept), pins.identity(kept))
    return True


def join(store: str, session_id: str, transcript: str) -> None:
    """Give a transcript back the turns that only the kept file has any more.

    Claude's clean-up deletes the transcript of a claude that is live, too, if it was idle for long;
    with its next turn that claude starts a new one. Nothing is joined that was not one
    conversation, and nothing given back to a transcript that says nothing new: it was cut by
    somebody. Called with the conversation's lease. Raises OSError.
    """
    kept = pins.path(store, session_id)
    with locked(store):
        earlier, later = lineage.of(kept), lineage.of(transcript)
        is_apart = not earlier.has_all_of(later) and not later.has_all_of(earlier)
        if is_apart and not _was_deleted(kept, origin(store, session_id), is_replaced=True):
            if not earlier.are_one_with(later):
                explain(f"{transcript} is not the conversation that is kept: they stay apart")
                return
            explain(f"{transcript} lacks earlier turns, which are kept: they are joined")
            join_files(kept, transcript)
    update_pin(store, session_id, transcript)


def begin_restore(store: str, session_id: str) -> bool:
    """Have a kept conversation put back for certain: its transcript is there, but of no use.

    Returns whether it is the compressed copy. Raises OSError.
    """
    kept = pins.path(store, session_id)
    with locked(store):
        if not os.path.exists(kept):
            return False
        is_copy = _repair(kept)
        if transcripts.resumable(kept) is not None:
            _link(kept, place(store, session_id) + RESTORING)
        return is_copy


def restore(store: str, session_id: str) -> None:
    """Give the conversation its transcript back, as used now, if claude's clean-up took it.

    If a person deleted it, drop the kept file. Raises OSError.
    """
    with locked(store):
        target = restore_target(store, session_id)
        if target is not None:
            _restore(store, session_id, target)
            return
        try:
            drop(store, session_id)
        except OSError as problem:
            explain(f"the kept conversation {session_id} stays: {problem.strerror}")


def restore_target(store: str, session_id: str) -> str | None:
    """Where the transcript of a kept conversation is to be put back, if it is not there.

    None where a person deleted it, or it is kept no longer. Raises OSError where that cannot be
    told.
    """
    kept = pins.path(store, session_id)
    if not os.path.exists(kept):
        return None
    target = place(store, session_id)
    if transcripts.resumable(kept) is None and not compressed.exists(kept):
        return None
    if _is_there(target) or os.path.lexists(target + RESTORING):
        return target
    return None if _was_deleted(kept, origin(store, session_id)) else target


def _was_deleted(kept: str, transcript: str, is_replaced: bool = False) -> bool:
    """Whether a person, and not claude's clean-up, deleted the transcript of a kept file.

    Only where it cannot be otherwise: the kept file is the very one that was seen to be the
    transcript, in this very folder, and no restored one; it has no second name any more; its
    account is there; and it was young when it lost that name. `is_replaced` says that another
    file has the transcript's name.
    """
    status = os.stat(kept)
    try:
        is_the_one = os.readlink(pins.link_of(kept)) == pins.identity(kept)
    except OSError:
        is_the_one = False
    is_gone = is_replaced or _is_there(transcripts.config_directory_of(transcript) + "/projects")
    # Of a link, the last change is the deletion of the other one.
    idle = status.st_ctime - status.st_mtime
    return (
        is_the_one
        and is_gone
        and status.st_nlink == 1
        and idle > -_AHEAD
        and not cleanup.took(idle / times.DAY, transcript, kept)
    )


def review(store: str, session_id: str, projects: Iterable[str]) -> None:
    """Drop the kept file of a conversation without a transcript, if a person deleted that.

    What a killed call has begun to put back is put back. Raises OSError.
    """
    with locked(store):
        target = restore_target(store, session_id)
        name = session_id + transcripts.ENDING
        if target is None:
            if not any(any(transcripts.copies(where, name)) for where in projects):
                drop(store, session_id)
        elif os.path.lexists(target + RESTORING):
            _restore(store, session_id, target)


def origin(store: str, session_id: str) -> str:
    """Where the transcript of a kept conversation was: in its project."""
    try:
        return os.readlink(pins.origin_of(pins.path(store, session_id)))
    except OSError:
        project = transcripts.project_name(os.getcwd())
        return f"{transcripts.projects_directory()}/{project}/{session_id}{transcripts.ENDING}"


def place(store: str, session_id: str) -> str:
    """Where its transcript is, or belongs: the same project, in an account that is there."""
    was = origin(store, session_id)
    if _is_there(was) or os.path.lexists(was + RESTORING):
        return was
    return transcripts.lasting_path(was)


def drop(store: str, session_id: str) -> None:
    """Remove the kept file and all that goes with it, last what says where it is from.

    Raises OSError.
    """
    kept = pins.path(store, session_id)
    sidecars.drop(store, session_id)
    for path in (pins.copy_of(kept), kept, kept + pins.UNFINISHED, pins.link_of(kept)):
        hard_links.remove(path)
    hard_links.remove(pins.origin_of(kept))


@contextlib.contextmanager
def locked(store: str) -> Iterator[None]:
    """Decide alone over what is put back and what is dropped.

    Raises OSError, TimeoutError where another process does not get done, and Failure where another
    user could have put there what is kept.
    """
    files.leave_to_its_owner(store)
    directory = os.open(f"{store}/{pins.FOLDER}", os.O_RDONLY | os.O_CLOEXEC)
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


def _restore(store: str, session_id: str, target: str) -> None:
    """Make the transcript a link to the kept file, or a copy of it, written now.

    Its time is set before it has its own name: under that, claude could clean it up at once. A
    kill leaves the other name, which says that it is to be put back.
    """
    kept = pins.path(store, session_id)
    beside_it = target + RESTORING
    if not _is_there(target):  # else another call was faster
        explain(f"{target} is put back")
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        _repair(kept)
        with contextlib.suppress(OSError):  # of a store that cannot be written
            pins.note(pins.origin_of(kept), target)
        is_link = _link(kept, beside_it)
        os.utime(beside_it)
        os.rename(beside_it, target)
        with contextlib.suppress(OSError):
            os.utime(kept)  # where it is a copy
            if is_link:
                pins.note(pins.link_of(kept), pins.identity(kept))
            else:
                hard_links.remove(pins.link_of(kept))
        with contextlib.suppress(OSError):
            sidecars.restore(store, session_id)
    hard_links.remove(beside_it)


def _link(kept: str, other: str) -> bool:
    return hard_links.is_same(kept, other) or hard_links.link_or_copy(kept, other, _OF_A_TRANSCRIPT)


def _repair(kept: str) -> bool:
    """Have the copy take the place of a kept file that lost every message; whether it did."""
    if transcripts.resumable(kept) is not None or not compressed.exists(kept):
        return False
    compressed.restore(kept)
    return True


def join_files(earlier: str, transcript: str) -> None:
    """Put the lines of an earlier transcript in front of those of a later one. Raises OSError."""
    unfinished = transcript + _JOINING
    known = lineage.of(earlier).own
    try:
        with open(unfinished, "wb") as joined:
            os.fchmod(joined.fileno(), _OF_A_TRANSCRIPT)
            line = b""
            for line in lineage.lines(earlier):
                joined.write(line)
            if not line.endswith(b"\n"):
                joined.write(b"\n")
            for line in lineage.lines(transcript):
                named = lineage.name_of(line)
                if named is None or named[0] not in known:
                    joined.write(line)
            joined.flush()
            os.fsync(joined.fileno())
        os.replace(unfinished, transcript)
    except OSError:
        hard_links.remove(unfinished)
        raise


def _is_there(path: str) -> bool:
    """Whether there is a file. Raises OSError where it cannot be seen: that is no deletion."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
