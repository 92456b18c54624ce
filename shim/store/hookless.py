"""Claudes whose hooks say nothing, or not all: where they went on is asked at the next call.

A file `unheard/<session id>` beside the store holds the pid of the claude that went on with that
conversation, and when it was started. While it lives, and after a kill, claude's registry says
which conversation it is on; after an exit the transcript that its `/clear` began does.
"""

import posix

from shim.base import files
from shim.base.messages import Failure, explain
from shim.base.session_key import is_session_id
from shim.claude import registry, transcripts
from shim.store import markers
from shim.store.markers import HOOKLESS


def note(store: str, session_id: str) -> None:
    """Note that this process becomes such a claude, which goes on with the conversation."""
    pid = posix.getpid()
    start = registry.start_of(pid)
    if start is None:
        return
    try:
        files.make_directory(f"{store}/{HOOKLESS}")
        files.replace(_path(store, session_id), f"{pid} {start}".encode())
    except (OSError, Failure) as problem:
        explain(f"who goes on with {session_id} cannot be noted: {problem}")


def moved_to(store: str, session_id: str) -> str | None:
    """The conversation that such a claude went on to from this one, or None."""
    claude = _read(store, session_id)
    if claude is None:
        return None
    other = registry.left_by(*claude)
    if other is None and not is_live(store, session_id):
        other = _cleared_to(store, session_id)
    has_moved = other is not None and other != session_id and is_session_id(other)
    return other if has_moved else None


def _cleared_to(store: str, session_id: str) -> str | None:
    """The conversation that an ended claude's `/clear` began, as far as transcripts tell."""
    from shim.claude import clearing  # such an end is rare
    from shim.store import history
    from shim.store.store import Store

    transcript, _ = transcripts.find(session_id)
    if transcript is None:
        return None
    mappings = Store(store).mappings()
    heads = [entry["uuid"] for entries in mappings.values() for entry in entries.values()]
    past = [entry["uuid"] for _, _, entry in history.everything(store)]
    began = posix.stat(_path(store, session_id)).st_mtime
    return clearing.begun_since(transcript.path, began, {*heads, *past})


def drop(store: str, session_id: str) -> None:
    """Remove the note of a claude that has ended, so that its end is looked at once."""
    if _read(store, session_id) is not None and not is_live(store, session_id):
        posix.unlink(_path(store, session_id))


def transfer(store: str, session_id: str, other: str) -> None:
    """Let the note be one of the conversation that its claude went on to."""
    try:
        posix.rename(_path(store, session_id), _path(store, other))
    except OSError as problem:
        explain(f"who goes on with {other} cannot be noted: {problem.strerror}")


def is_live(store: str, session_id: str) -> bool:
    """Whether the claude that is noted of a conversation still runs."""
    claude = _read(store, session_id)
    return claude is not None and registry.start_of(claude[0]) == claude[1]


def _read(store: str, session_id: str) -> tuple[int, str] | None:
    pid, _, start = markers.content(store, HOOKLESS, session_id).partition(" ")
    return (int(pid), start) if pid.isdigit() else None


def _path(store: str, session_id: str) -> str:
    return markers.path(store, HOOKLESS, session_id)
