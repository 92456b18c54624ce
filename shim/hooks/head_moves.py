"""From an event of claude's to the head: whether the user has moved on to another conversation.

It is loaded late, by `following`: most events are of the head.
"""

from shim.base import environment
from shim.base.session_key import SessionKey
from shim.claude import background_jobs, invocation, registry, transcripts
from shim.store import history, markers, plugin_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Event = dict[str, Any]

# Why one conversation ends and the next one starts, where a person goes from one to the other.
_CHOICES = ("clear", "resume")
# The same as the worker of a job starts: by the version.
_COPIED = ("fork", "resume")


def head_after(event: "Event", store: str, key: SessionKey, head: str | None) -> str | None:
    """The conversation that is the head after an event; None where the event moves nothing.

    It is the one in which a turn begins, the one that a person at a terminal comes to by `/clear`,
    `/resume`, `/branch` or ←, and the one that a stream's claude ends on, having come to it without
    a turn.
    """
    job = background_jobs.own()
    if job is not None and not background_jobs.continues_terminal(job):
        return None
    session_id = str(event["session_id"])
    match event.get("hook_event_name"):
        case "UserPromptSubmit":
            return session_id
        case "SessionStart":
            return _begun(str(event.get("source")), session_id, store, head, job)
        case "SessionEnd" if job is None and event.get("reason") not in _CHOICES:
            return _ended(session_id, store, key, head)
    return None


def _begun(
    source: str, session_id: str, store: str, head: str | None, job: "background_jobs.State | None"
) -> str | None:
    """The head as a conversation begins or is resumed, at a terminal or in the background."""
    own = str(job["sessionId"]) if job else None
    if own and source in _COPIED:
        # 2.1.197 names the conversation that the job's is a copy of, later versions the copy.
        parent = markers.parent_of(store, own)
        if parent is None and own != head:
            left = (
                registry.parked_on(background_jobs.id_of(own)) if session_id == own else session_id
            )
            return _left_for(own, left, store, head)
        if session_id == parent:
            return None
    if source in _CHOICES:
        return session_id
    is_another = source == "fork" and session_id not in (own, _started_on())
    return session_id if is_another else None


def _ended(session_id: str, store: str, key: SessionKey, head: str | None) -> str | None:
    """The head as a claude ends on a conversation."""
    if session_id == head:
        # A person who goes as soon as ← has left it to a job is faster than that job's worker.
        of_key = plugin_links.directory_of(store, key) + "/"
        for job in background_jobs.every():
            is_its = any(flag.startswith(of_key) for flag in background_jobs.flags(job))
            if (
                is_its
                and background_jobs.continues_terminal(job)
                and background_jobs.is_about_to_start(job)
            ):
                own = str(job["sessionId"])
                if not markers.exists(store, markers.FORKS, own):
                    return _left_for(own, session_id, store, head)
        return None
    heads = [each.get("uuid") for each in history.earlier(store, key.room, key.agent)]
    # A turn would have made it the head, and by now an earlier one.
    is_come_to = session_id not in [*heads, _started_on() or session_id]
    return session_id if is_come_to else None


def _left_for(job: str, left: str | None, store: str, head: str | None) -> str | None:
    """The head where a job's conversation is a copy of the one that was left for it."""
    if left is None or left != head:
        return None
    markers.note_fork(store, job, left)
    return job


def _started_on() -> str | None:
    """The session id in the command line of the claude that runs this hook, or None."""
    import psutil  # as long to import as all the rest

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
