"""Pins and what they are for: updating them, restoring transcripts from them, dropping them."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from shim.base import files, times
from shim.base.messages import explain
from shim.claude import cleanup, lineage, lines, shortening, transcripts
from shim.retention import compressed, hard_links, pins, sidecars

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Behind the transcript's own name, in claude's project: claude ignores files with this ending.
RESTORING = ".putting-back"

# A file whose time is this far ahead, in seconds, shows that the clock is wrong.
_AHEAD = 3600.0
# Seconds to wait for another process's decision, which takes milliseconds.
_TIMEOUT = 5.0
# A copy is written by nobody: its mode tells it from a link.
_OF_A_COPY = 0o400
_OF_A_TRANSCRIPT = 0o600


def update_pin(store: str, session_id: str, transcript: str) -> bool:
    """Make the pin a link to the transcript, or a copy of it; return whether it is one now.

    A pin that has anything the transcript lacks stays, unless a person deleted its transcript, or
    claude shortened it. So does one of a transcript under another config directory. A kill at any
    instant leaves the pin as it was or as it is to be. Raises OSError.
    """
    pin = pins.path(store, session_id)
    if not hard_links.is_same(pin, transcript):
        if os.path.exists(pin) and not (
            hard_links.is_current_copy(transcript, pin)
            or lineage.read(transcript).has_all_of(lineage.read(pin))
            or _is_superseded(store, session_id, transcript)
        ):
            return False
        if os.path.exists(pin) and shortening.was_shortened(pin, transcript):
            # Of the longer file; else no copy of the new one would be made.
            hard_links.remove(pins.copy_of(pin))
        pins.note(pins.origin_of(pin), os.path.abspath(transcript))
        hard_links.link_or_copy(transcript, pin, _OF_A_COPY)
    pins.note(pins.origin_of(pin), os.path.abspath(transcript))
    if hard_links.is_same(pin, transcript):
        pins.note(pins.link_of(pin), pins.identity(pin))
    return True


def join(store: str, session_id: str, transcript: str) -> None:
    """Restore to a transcript the turns that only its pin still has.

    Claude's clean-up also deletes the transcript of a live claude, if it was idle for long; with
    its next turn that claude starts a new file. Files that are not of one conversation are not
    joined, nor is a transcript that adds nothing to the pin: somebody cut it. Called with the
    conversation's lock. Raises OSError.
    """
    pin = pins.path(store, session_id)
    with locked(store):
        earlier, later = lineage.read(pin), lineage.read(transcript)
        is_apart = not earlier.has_all_of(later) and not later.has_all_of(earlier)
        if is_apart and not _is_superseded(store, session_id, transcript):
            if not earlier.are_one_with(later):
                explain(f"{transcript} is another conversation than its pin: they stay apart")
                return
            explain(f"{transcript} lacks earlier turns, which its pin has: they are joined")
            join_files(pin, transcript)
    update_pin(store, session_id, transcript)


def _is_superseded(store: str, session_id: str, transcript: str) -> bool:
    """Whether the transcript took the place of the pinned one on purpose."""
    pin = pins.path(store, session_id)
    return shortening.was_shortened(pin, transcript) or _was_deleted(
        pin, origin(store, session_id), is_replaced=True
    )


def begin_restore(store: str, session_id: str) -> bool:
    """Mark a pinned conversation to be restored, because its transcript is useless.

    Returns whether its pin is the compressed copy now. Raises OSError.
    """
    pin = pins.path(store, session_id)
    with locked(store):
        if not os.path.exists(pin):
            return False
        is_copy = _repair(pin)
        if transcripts.resumable(pin) is not None:
            _link(pin, place(store, session_id) + RESTORING)
        return is_copy


def restore(store: str, session_id: str) -> None:
    """Restore a conversation's transcript with the current time, if claude's clean-up took it.

    If a person deleted it, drop the pin. Raises OSError.
    """
    with locked(store):
        target = restore_target(store, session_id)
        if target is not None:
            _restore(store, session_id, target)
            return
        try:
            drop(store, session_id)
        except OSError as problem:
            explain(f"the pin of {session_id} stays: {problem.strerror}")


def restore_target(store: str, session_id: str) -> str | None:
    """Where the transcript of a pinned conversation would be restored.

    None where a person deleted it, or it has no usable pin. Raises OSError where that cannot be
    determined.
    """
    pin = pins.path(store, session_id)
    if not os.path.exists(pin):
        return None
    target = place(store, session_id)
    if transcripts.resumable(pin) is None and not compressed.exists(pin):
        return None
    if _exists(target) or os.path.lexists(target + RESTORING):
        return target
    return None if _was_deleted(pin, origin(store, session_id)) else target


def _was_deleted(pin: str, transcript: str, is_replaced: bool = False) -> bool:
    """Whether a person, and not claude's clean-up, deleted the transcript of a pin.

    Only where nothing else can have happened: the pin is the very file that was the transcript, in
    this very folder, and not restored from a backup; it has no other link; its config directory
    exists; and it was young when it lost the other link. `is_replaced` means that another file has
    the transcript's name.
    """
    status = os.stat(pin)
    try:
        is_the_one = os.readlink(pins.link_of(pin)) == pins.identity(pin)
    except OSError:
        is_the_one = False
    is_gone = is_replaced or _exists(transcripts.config_directory_of(transcript) + "/projects")
    # The last change of a link's status is the deletion of the other link.
    idle = status.st_ctime - status.st_mtime
    return (
        is_the_one
        and is_gone
        and status.st_nlink == 1
        and idle > -_AHEAD
        and not cleanup.took(idle / times.DAY, transcript, pin)
    )


def review(store: str, session_id: str, projects: Iterable[str]) -> None:
    """Drop the pin of a conversation without a transcript, if a person deleted that.

    What a killed call began to restore is restored. Raises OSError.
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
    """The noted path of a pinned conversation's transcript, else the one it would have here."""
    try:
        return os.readlink(pins.origin_of(pins.path(store, session_id)))
    except OSError:
        project = transcripts.project_name(os.getcwd())
        return f"{transcripts.projects_directory()}/{project}/{session_id}{transcripts.ENDING}"


def place(store: str, session_id: str) -> str:
    """Where its transcript is, or belongs: in its project, under a config directory that exists."""
    was = origin(store, session_id)
    if _exists(was) or os.path.lexists(was + RESTORING):
        return was
    return transcripts.lasting_path(was)


def drop(store: str, session_id: str) -> None:
    """Remove a pin and everything that belongs to it, the note of its origin last.

    Raises OSError.
    """
    pin = pins.path(store, session_id)
    sidecars.drop(store, session_id)
    for path in (pins.copy_of(pin), pin, pin + files.UNFINISHED, pins.link_of(pin)):
        hard_links.remove(path)
    hard_links.remove(pins.origin_of(pin))


@contextlib.contextmanager
def locked(store: str) -> Iterator[None]:
    """Decide alone what is restored and what is dropped.

    Raises TimeoutError where another process keeps the lock, and Failure where another user could
    have put there what is pinned.
    """
    files.leave_to_its_owner(store)
    import filelock  # it costs more than `claude-shim list` else needs

    lock = filelock.FileLock(f"{store}/{pins.FOLDER}.lock", timeout=_TIMEOUT, mode=0o600)
    try:
        lock.acquire()
    except TimeoutError:
        raise
    except (OSError, NotImplementedError) as problem:
        # A store that cannot be written, or has no locks: a decision takes microseconds.
        explain(f"restoring without a lock: {problem}")
    try:
        yield
    finally:
        lock.release()


def _restore(store: str, session_id: str, target: str) -> None:
    """Make the transcript a link to the pin, or a copy of it, with the current time.

    Its time is set before it has its own name: under that, claude could clean it up at once. A
    kill leaves the other name, by which the next call sees that it is to be restored.
    """
    pin = pins.path(store, session_id)
    unfinished = target + RESTORING
    if not _exists(target):  # else another call was faster
        explain(f"{target} is restored")
        os.makedirs(os.path.dirname(target), mode=0o700, exist_ok=True)
        _repair(pin)
        with contextlib.suppress(OSError):  # of a store that cannot be written
            pins.note(pins.origin_of(pin), target)
        is_link = _link(pin, unfinished)
        os.utime(unfinished)
        os.rename(unfinished, target)
        with contextlib.suppress(OSError):
            os.utime(pin)  # where it is a copy
            if is_link:
                pins.note(pins.link_of(pin), pins.identity(pin))
            else:
                hard_links.remove(pins.link_of(pin))
        with contextlib.suppress(OSError):
            sidecars.restore(store, session_id)
    hard_links.remove(unfinished)


def _link(pin: str, other: str) -> bool:
    return hard_links.is_same(pin, other) or hard_links.link_or_copy(pin, other, _OF_A_TRANSCRIPT)


def _repair(pin: str) -> bool:
    """Replace a pin that has lost every message by its compressed copy; whether that was done."""
    if transcripts.resumable(pin) is not None or not compressed.exists(pin):
        return False
    compressed.restore(pin)
    return True


def join_files(earlier: str, transcript: str) -> None:
    """Insert the lines of an earlier transcript before those of a later one. Raises OSError."""
    known = lineage.read(earlier).own

    def fill(unfinished: int) -> None:
        with (
            open(unfinished, "wb", closefd=False) as joined,
            lines.open_regular(earlier) as first,
            lines.open_regular(transcript) as second,
        ):
            for line in lines.forward(first):
                joined.write(line.content if line.is_whole else line.content + b"\n")
            for line in lines.forward(second):
                named = lineage.name_of(line.content)
                if named is None or named[0] not in known:
                    joined.write(line.content)
            joined.flush()
            os.fsync(unfinished)

    files.replace_with(transcript, fill)


def _exists(path: str) -> bool:
    """Whether there is a file. Raises OSError where it cannot be seen: that is no deletion."""
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
