"""What a call does with the forks of its conversation, loaded where there are any or one begins."""

from __future__ import annotations

import os

from shim.base.messages import Failure, explain
from shim.base.session_key import new_session_id
from shim.claude import registry, transcripts
from shim.claude.transcripts import Transcript
from shim.forks import appending, belonging, catching_up, fork_marker, lacking, writing
from shim.forks.fork_marker import Marker
from shim.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from shim.call.call import Call
    from shim.locks.record_lock import Lock

    class Locks(Protocol):
        """What is needed of the effects of that name, which import this module."""

        def acquire_fork(self, session_id: str) -> None:
            """Acquire the lock of a new fork."""

        def is_held(self, session_id: str) -> bool:
            """Whether another process has the lock of a conversation."""

        def try_acquire_free(self, session_id: str, is_long_running: bool) -> Lock | None:
            """Acquire the lock of a conversation that nobody has and no claude lives on."""


PROBLEMS = (OSError, Failure, appending.Broken)


def take_over(store: str) -> None:
    """Take over the forks of version 0.2.0. Raises OSError, Failure."""
    mappings = Store(store).mappings()
    heads = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    belonging.take_over(store, heads)


def catch_up(store: str, call: Call, locks: Locks) -> None:
    """Append to the head of a call, which it has for itself, what was said in the forks.

    Raises `PROBLEMS`.
    """
    head = call.session_id
    belonging.make_head(store, head)  # where another program recorded a fork
    fork_marker.clear_list(store, head)
    if call.transcript is None:
        path = source(store, head, None)
        written = writing.begin_head(store, head, path) if path else None
        if written is None:
            return
        call.transcript = transcript(written)
    turns = catching_up.catch_up(store, head)
    explain(f"turns of its forks that were appended: {len(turns)}")
    for marker in fork_marker.all_of(store, head):
        if catching_up.is_known(store, marker):
            _end(store, marker.fork, locks)


def prepare_explicit(store: str, session_id: str) -> None:
    """Prepare a conversation that is resumed as its caller asks. Raises OSError, Failure."""
    appending.undo(store, session_id)
    belonging.note_anew(store, session_id)


def _end(store: str, fork: str, locks: Locks) -> None:
    """Note that a fork is over, of which the head has all, unless a claude lives on it."""
    lock = locks.try_acquire_free(fork, is_long_running=False)
    if lock is not None:
        marker = fork_marker.of_fork(store, fork)
        if marker is not None and catching_up.is_known(store, marker):
            fork_marker.end(store, fork)
        lock.release()


def enter(store: str, call: Call, locks: Locks) -> None:
    """Have a call resume a fork of its conversation: the newest that is free, or a new one.

    The call has the fork's lock then. Raises OSError and Failure where none can be written.
    """
    head = call.session_id
    found = free_fork(store, call, locks)
    if found is None:
        call.session_id = new_session_id()
        locks.acquire_fork(call.session_id)
        written = _write(store, head, call)
    else:
        call.session_id, written = found
        belonging.note_anew(store, call.session_id)
    call.transcript = transcript(written) if written else None
    if call.transcript is not None:
        try:
            catching_up.catch_up(store, call.session_id)
        except PROBLEMS as problem:
            explain(f"the fork lacks turns of others: {problem}")


def source(store: str, head: str, transcript: Transcript | None) -> str | None:
    """The transcript that a fork of a head is a copy of; None where no turn has ended.

    That is the head's, or of a head in which nothing was said yet, the newest fork's. Raises
    OSError.
    """
    own = transcripts.without_link(transcript.path) if transcript else None
    forks = (lacking.path_of(store, marker) for marker in fork_marker.all_of(store, head))
    return next((path for path in (own, *forks) if path and writing.can_write(path)), None)


def transcript(path: str) -> Transcript:
    """A transcript that was just found or written. Raises OSError."""
    return Transcript(path, transcripts.is_here(path), os.stat(path))


def free_fork(store: str, call: Call, locks: Locks) -> tuple[str, str] | None:
    """The newest fork of a conversation that nobody has, and its transcript.

    The call has its lock then.
    """
    try:
        for fork, path in belonging.resumable(store, call.session_id):
            if transcripts.resumable(path) is None:
                continue
            if locks.try_acquire_free(fork, call.invocation.is_long_running) is not None:
                return fork, path
    except (OSError, Failure) as problem:
        explain(f"no fork is resumed: {problem}")
    return None


def move_head(store: str, head: str, new: str, is_copy: bool, locks: Locks) -> None:
    """Have the forks of a head follow, as a call moves it on purpose. Raises OSError, Failure."""

    def is_live(fork: str) -> bool:
        return locks.is_held(fork) or registry.live_on(fork) is not None

    belonging.move_head(store, head, new, is_copy, is_live)


def _write(store: str, head: str, call: Call) -> str | None:
    """Write the fork of a head that a call runs in, and return its path; None of an empty one.

    Raises OSError, Failure.
    """
    by = "a person at a terminal" if call.invocation.is_interactive else "a program"
    path = source(store, head, call.transcript)
    if path is not None and transcripts.session_id_of(path) == head:
        return writing.write(store, path, call.session_id, by)
    copied = writing.copied(path, call.session_id) if path else None
    fork_marker.begin(store, Marker(call.session_id, head, by, copied[0] if copied else ""))
    return copied[0] if copied else None
