"""Markers: what is noted of a conversation, in a file `<folder>/<session id>` beside the store.

- `forks/`: the file of a fork says whose it is (`shim.forks.fork_marker`). `forked/` has a folder
  for each conversation that has forks with turns to give or to get.
- `left/`: a person who presses ← leaves a conversation to claude's background worker, which makes a
  copy of it: the file of the copy holds the session id of what was left. It is resumed while the
  copy has no turn.
- `tasks/`: the file of a conversation whose claude has background tasks that run on after its turn.
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
FORKED: "Final" = "forked"
LEFT: "Final" = "left"
TASKS: "Final" = "tasks"
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


def has_forks(store: str, session_id: str) -> bool:
    """Whether a conversation has forks with turns to give or to get. Costs one look."""
    return exists(store, FORKED, session_id)


def is_of_old_version(store: str) -> bool:
    """Whether the store's forks are all those of version 0.2.0, which are to be taken over."""
    return not posix.access(f"{store}/{FORKED}", posix.F_OK) and posix.access(
        f"{store}/{FORKS}", posix.F_OK
    )


def note_left(store: str, copy: str, left: str) -> None:
    """Note which conversation was left for a copy of it; where that fails, it stands alone."""
    if exists(store, LEFT, copy):
        return
    try:
        write(store, LEFT, copy, left)
    except (OSError, Failure) as problem:
        explain(f"what was left for {copy} cannot be noted: {problem}")


def left_for(store: str, copy: str) -> str | None:
    """The session id of what was left for a copy of it; None where that is not known."""
    named = read(store, LEFT, copy)
    return named if is_session_id(named) else None


def note_tasks(store: str, session_id: str, are_running: bool) -> None:
    """Note whether background tasks of a conversation run on after its turn.

    Raises OSError, Failure.
    """
    if are_running:
        write(store, TASKS, session_id, "")
    elif exists(store, TASKS, session_id):
        posix.unlink(path(store, TASKS, session_id))


def tasks_since(store: str, session_id: str) -> float | None:
    """When background tasks of a conversation were last seen to run on, in seconds of the system's
    clock; None where none did.
    """
    try:
        return posix.stat(path(store, TASKS, session_id)).st_mtime
    except OSError:
        return None


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
