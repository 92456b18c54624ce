"""From an event of claude's to the head: whether a person has moved to another conversation.

Only what the claude that holds the key's lock moves to on purpose becomes the head. Where a claude
on a fork moves, the new conversation is a fork of the head from then on. It is loaded late, by
`head_hook`: most events are of the head.
"""

import os

from shim.base import environment, session_key
from shim.base.session_key import SessionKey
from shim.claude import background_jobs, invocation, registry, transcripts
from shim.forks import belonging, fork_marker, lacking
from shim.forks.fork_marker import Marker
from shim.locks import live_claudes, record_lock
from shim.store import history, markers, plugin_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from shim.store.store import Store

    Event = dict[str, Any]

# Why one conversation ends and the next one starts, where a person goes from one to the other.
_CHOICES = ("clear", "resume")
# The same as the worker of a job starts: by the version.
_COPIED = ("fork", "resume")


def follow(event: "Event", store: "Store", key: SessionKey, head: str | None) -> str | None:
    """Follow an event; return the conversation that is the head now, where it has moved.

    Raises OSError, Failure.
    """
    job = background_jobs.own()
    if job is not None and not background_jobs.continues_terminal(job):
        return None
    head = head or session_key.derive(key)
    move = _move(event, store.directory, key, head, job)
    if move is None or move.to == head:
        return None
    if move.left != head and not _is_holder(store.directory, key, job):
        _note_fork(store, move, head)
        return None
    if move.left is not None:
        markers.note_left(store.directory, move.to, move.left)
    belonging.move_head(store.directory, head, move.to, move.is_copy, _is_live(store.directory))
    store.record(key.room, key.agent, move.to)
    return move.to


class _Move:
    """Where a claude has moved to, and whether that is a copy of the conversation that it was on.

    `left` is what a person left for it with ←, if so.
    """

    __slots__ = ("is_copy", "left", "to")

    def __init__(self, to: str, is_copy: bool = False, left: str | None = None) -> None:
        self.to = to
        self.is_copy = is_copy
        self.left = left


def _move(
    event: "Event",
    store: str,
    key: SessionKey,
    head: str,
    job: "background_jobs.State | None",
) -> _Move | None:
    """Where a person has moved to, if anywhere: by `/clear`, `/resume`, `/branch` or ←.

    A stream says so with the next turn, or as it ends.
    """
    session_id = str(event["session_id"])
    match event.get("hook_event_name"):
        case "UserPromptSubmit":
            return None if _is_known(store, key, session_id) else _Move(session_id)
        case "SessionStart":
            return _begun(str(event.get("source")), session_id, store, head, job)
        case "SessionEnd" if job is None and event.get("reason") not in _CHOICES:
            return _ended(session_id, store, key, head)
    return None


def _begun(
    source: str, session_id: str, store: str, head: str, job: "background_jobs.State | None"
) -> _Move | None:
    """Where a person came to as a conversation begins or is resumed, at a terminal or a worker."""
    own = str(job["sessionId"]) if job else None
    if own and source in _COPIED:
        # 2.1.197 names the conversation that the job's is a copy of, later versions the copy.
        left = markers.left_for(store, own)
        if left is None and own != head:
            named = registry.parked_on(background_jobs.id_of(own)) if session_id == own else None
            return _left_for(own, named or session_id, store, head)
        if session_id == left:
            return None
    if source in _CHOICES:
        return _Move(session_id)
    is_another = source == "fork" and session_id not in (own, _started_on())
    return _Move(session_id, is_copy=True) if is_another else None


def _ended(session_id: str, store: str, key: SessionKey, head: str) -> _Move | None:
    """Where a person came to before a claude ends on a conversation."""
    if session_id != head:
        # A turn would have made it the head, and by now an earlier one.
        is_known = _started_on() is None or _is_known(store, key, session_id)
        return None if is_known else _Move(session_id)
    # A person who goes as soon as ← has left it to a job is faster than that job's worker.
    of_key = plugin_links.directory_of(store, key) + "/"
    for job in background_jobs.every():
        own = str(job["sessionId"])
        if (
            any(flag.startswith(of_key) for flag in background_jobs.flags(job))
            and background_jobs.continues_terminal(job)
            and background_jobs.is_about_to_start(job)
            and markers.left_for(store, own) is None
        ):
            return _left_for(own, session_id, store, head)
    return None


def _left_for(job: str, left: str, store: str, head: str) -> _Move | None:
    """The move to a job's conversation, where what was left for it is the head or a fork of it."""
    marker = fork_marker.of_fork(store, left)
    is_of_head = left == head or (marker is not None and marker.of == head)
    return _Move(job, is_copy=True, left=left) if is_of_head else None


def _is_known(store: str, key: SessionKey, session_id: str) -> bool:
    """Whether a claude can be on a conversation without having moved to it on purpose.

    It was started on it, or it is a fork, or a turn in it made it the head, which it was earlier.
    """
    earlier = [each.get("uuid") for each in history.earlier(store, key.room, key.agent)]
    is_fork = markers.exists(store, markers.FORKS, session_id)
    return is_fork or session_id in earlier or session_id == _started_on()


def _note_fork(store: "Store", move: _Move, head: str) -> None:
    """Note that the conversation that a claude on a fork has moved to is a fork from now on."""
    is_fork = markers.exists(store.directory, markers.FORKS, move.to)
    mappings = store.mappings().values()
    if is_fork or any(it["uuid"] == move.to for entries in mappings for it in entries.values()):
        return
    if move.is_copy:
        fork_marker.begin(store.directory, Marker(move.to, head))
    else:
        path = lacking.transcript_of(store.directory, head)
        belonging.hand_on(store.directory, move.to, head, path)


def _is_holder(store: str, key: SessionKey, job: "background_jobs.State | None") -> bool:
    """Whether the claude that runs this hook, or the terminal that was left for it, has the key.

    Where nobody has the key's lock, or no lock can be had, whoever is on no fork counts as holder.
    """
    holder = _holder(store, key)
    if holder is None:
        on = str(job["sessionId"]) if job else _started_on()
        return on is None or fork_marker.of_fork(store, on) is None
    if holder in _lineage():
        return True
    entry = registry.entry_of(holder)
    names = (entry.get("jobId"), entry.get("parkedJobId"))
    return job is not None and background_jobs.id_of(str(job["sessionId"])) in names


def _holder(store: str, key: SessionKey) -> int | None:
    """The pid that has the lock of a session key; None where nobody has it, or it has none."""
    try:
        file = os.open(f"{store}/{record_lock.FILE_NAME}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        lock = record_lock.Lock(file, record_lock.key_offset(key.room, key.agent))
        holder = lock.holder()
        return holder.pid if holder else None
    except OSError:
        return None
    finally:
        os.close(file)


def _is_live(store: str) -> "Callable[[str], bool]":
    """What tells whether a claude lives on a conversation."""
    try:
        held = live_claudes.held_locks(store)
    except OSError:
        held = live_claudes.HeldLocks({})
    return lambda it: held.for_conversation(it) is not None or registry.live_on(it) is not None


def _lineage() -> set[int]:
    """The processes that this one descends from."""
    import psutil  # as long to import as all the rest

    pid = environment.get("CLAUDE_PID")
    found = {os.getppid(), int(pid) if pid.isdigit() else 0}
    try:
        return found | {process.pid for process in psutil.Process().parents()}
    except psutil.Error:
        return found


def _started_on() -> str | None:
    """The session id in the command line of the claude that runs this hook, or None."""
    import psutil

    pid = environment.get("CLAUDE_PID")
    try:
        claude = [psutil.Process(int(pid))] if pid.isdigit() else psutil.Process().parents()
        for process in claude:
            asked = invocation.read(process.cmdline()[1:])
            named = asked.value("--session-id") or asked.value("--resume")
            if asked.has("--plugin-dir") and named:
                return transcripts.session_id_of(named)
    except psutil.Error:
        pass
    return None
