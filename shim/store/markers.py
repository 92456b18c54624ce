"""Markers: what is noted of a conversation, in a file `<folder>/<session id>` beside the store.

- `forks/`: the file of a fork holds the session id of its parent, the conversation it is a copy of.
  Who makes the fork writes it, before claude starts.
- `unheard/`: the file of a conversation holds the pid and start time of a hookless claude, one that
  runs without our hooks, or without all of them. The next call works out which session that claude
  moved to: from claude's registry while it lives and after a kill, from the transcript that its
  `/clear` began after it has exited.
"""

import posix

from shim.base import files
from shim.base.messages import Failure, explain
from shim.base.session_key import is_session_id
from shim.claude import registry, transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FORKS: "Final" = "forks"
HOOKLESS: "Final" = "unheard"


def path(store: str, folder: str, session_id: str) -> str:
    """The path of a conversation's marker."""
    return f"{store}/{folder}/{session_id}"


def exists(store: str, folder: str, session_id: str) -> bool:
    """Whether a conversation has a marker."""
    return posix.access(path(store, folder, session_id), posix.F_OK)


def read(store: str, folder: str, session_id: str) -> str:
    """The content of a marker; empty where there is none."""
    return files.read(path(store, folder, session_id)).decode("ascii", "replace")


def write(store: str, folder: str, session_id: str, content: str) -> None:
    """Write a marker, in the place of an earlier one. Raises OSError, Failure."""
    files.make_directory(f"{store}/{folder}")
    files.replace(path(store, folder, session_id), content.encode())


def transfer(store: str, folder: str, session_id: str, other: str) -> None:
    """Make the marker of a conversation that of another one."""
    try:
        posix.rename(path(store, folder, session_id), path(store, folder, other))
    except OSError as problem:
        explain(f"the marker of {session_id} stays: {problem.strerror}")


def note_fork(store: str, fork: str, parent: str) -> None:
    """Note of which conversation a fork is a copy. Where that fails, the fork has no parent."""
    if exists(store, FORKS, fork):
        return
    try:
        write(store, FORKS, fork, parent)
    except (OSError, Failure) as problem:
        explain(f"the parent of fork {fork} cannot be noted: {problem}")


def parent_of(store: str, fork: str) -> str | None:
    """The session id of a fork's parent; None where that is not known."""
    named = read(store, FORKS, fork)
    return named if is_session_id(named) else None


def note_hookless(store: str, session_id: str) -> None:
    """Note that this process becomes a hookless claude, which resumes the conversation."""
    pid = posix.getpid()
    start = registry.start_of(pid)
    if start is None:
        return
    try:
        write(store, HOOKLESS, session_id, f"{pid} {start}")
    except (OSError, Failure) as problem:
        explain(f"which claude resumes {session_id} cannot be noted: {problem}")


def hookless_moved_to(store: str, session_id: str) -> str | None:
    """The session id that a hookless claude has moved to from a conversation, or None."""
    claude = _hookless(store, session_id)
    if claude is None:
        return None
    other = registry.left_by(*claude)
    if other is None and not is_hookless_live(store, session_id):
        other = _cleared_to(store, session_id)
    has_moved = other is not None and other != session_id and is_session_id(other)
    return other if has_moved else None


def is_hookless_live(store: str, session_id: str) -> bool:
    """Whether the hookless claude that is noted of a conversation still runs."""
    claude = _hookless(store, session_id)
    return claude is not None and registry.start_of(claude[0]) == claude[1]


def drop_ended_hookless(store: str, session_id: str) -> None:
    """Remove the marker of a hookless claude that has ended: its end is looked at once."""
    if _hookless(store, session_id) is not None and not is_hookless_live(store, session_id):
        posix.unlink(path(store, HOOKLESS, session_id))


def _hookless(store: str, session_id: str) -> tuple[int, str] | None:
    """The pid and start time of the hookless claude that is noted of a conversation."""
    pid, _, start = read(store, HOOKLESS, session_id).partition(" ")
    return (int(pid), start) if pid.isdigit() else None


def _cleared_to(store: str, session_id: str) -> str | None:
    """The session id that an ended claude's `/clear` began, as far as transcripts show it."""
    from shim.claude import clearing  # such an end is rare
    from shim.store import history
    from shim.store.store import Store

    transcript, _ = transcripts.find(session_id)
    if transcript is None:
        return None
    mappings = Store(store).mappings()
    heads = [entry["uuid"] for entries in mappings.values() for entry in entries.values()]
    past = [entry["uuid"] for _, _, entry in history.everything(store)]
    began = posix.stat(path(store, HOOKLESS, session_id)).st_mtime
    return clearing.begun_since(transcript.path, began, {*heads, *past})
