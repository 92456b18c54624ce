"""The store's rare ways: those that parse the whole of sessions.json, repair or rewrite it.

The functions on an open file are called with its lock.
"""

import os
import time

from shim.base import stamps, times
from shim.base.files import content
from shim.base.messages import explain, warn
from shim.store import document, locked_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from shim.store.document import Document
    from shim.store.history import Head

    Change = Callable[[Document], Iterable[Head]]

# Nanoseconds since its last use within which nobody cleans up a mapping for its age.
_IN_USE = int(7 * times.DAY * 1e9)


def find(path: str, file: int, room: str, agent: str, touch: bool, is_locked: bool) -> str | None:
    """The session id of a room and agent in a file of any layout, or None."""
    mappings = load(path, file, is_locked)
    entry = mappings.get(room, {}).get(agent)
    if entry is None:
        return None
    if touch:
        entry["last_used"] = times.now()
        _try_to_commit(path, file, mappings)
    return str(entry["uuid"])


def record(path: str, file: int, room: str, agent: str, session_id: str) -> None:
    """Map a room and agent to a session id, used now, in a file of any layout. Raises OSError."""
    mappings = load(path, file)
    entries = mappings.setdefault(room, {})
    known = entries.get(agent, {})
    if known and known["uuid"] != session_id:
        remember(path, room, agent, known)
    entries[agent] = {**known, "uuid": session_id, "last_used": times.now()}
    _commit(path, file, mappings)


def remember(path: str, room: str, agent: str, entry: "dict[str, Any]") -> bool:
    """Note an earlier head in the history; whether that worked."""
    from shim.store import history

    try:
        history.remember(path.rpartition("/")[0], room, agent, entry)
    except OSError as problem:
        warn(f"the earlier session {entry['uuid']} is not noted: {problem.strerror}")
        return False
    return True


def load(path: str, file: int, is_locked: bool = True) -> "Document":
    """The parsed document; a damaged one is kept aside and repaired from its backup.

    Without the lock nothing is written: what looks damaged may be half written.
    """
    data = content(file)
    try:
        if data.strip():
            mappings = document.parse(data)
            if locked_file.has_shrunk(path, file):
                _require_continuity(mappings, _backup(path), path)
            return mappings
        problem = "it is empty"
    except document.InvalidDocument as damage:
        problem = str(damage)
    backup = _backup(path)
    if not data.strip() and not backup:
        return {}
    if backup and data.startswith(locked_file.TORN):
        repaired = backup
    else:
        repaired = document.merge(document.salvage(data), backup)
    _update_times(repaired)
    if is_locked:
        _repair(path, file, data, repaired, problem)
    return repaired


def _backup(path: str) -> "Document":
    """What the backup has, also where a power cut has torn what was appended to it last."""
    data = locked_file.backup(path)
    try:
        return document.parse(data)
    except document.InvalidDocument:
        return document.salvage(data)


def _require_continuity(mappings: "Document", backup: "Document", path: str) -> None:
    """Check that the document continues what we last wrote. Raises InvalidDocument.

    NSED starts a new one where it finds it damaged or empty, as after a kill: then everything in it
    was used since, and what is missing was in use. What NSED cleans up was not in use.
    """
    used = [_used(entry) for agents in mappings.values() for entry in agents.values()]
    missing = [
        _used(entry)
        for room, agents in backup.items()
        for agent, entry in agents.items()
        if agent not in mappings.get(room, {})
    ]
    is_in_use = max(missing, default=0) > time.time_ns() - _IN_USE
    if used and is_in_use and min(used) > os.stat(locked_file.backup_of(path)).st_mtime_ns:
        raise document.InvalidDocument("another program has begun it anew")


def _used(entry: "dict[str, Any]") -> int:
    return stamps.nanoseconds(entry["last_used"]) or 0


def _update_times(repaired: "Document") -> None:
    """Set the time of each entry to that of its transcript, if the transcript is younger.

    The backup does not have the times of use, and nothing may be cleaned up for an old one.
    """
    from shim.claude import projects

    entries = [entry for agents in repaired.values() for entry in agents.values()]
    written = projects.last_written({entry["uuid"] for entry in entries})
    for entry in entries:
        at = written.get(entry["uuid"], 0)
        if at > _used(entry):
            entry["last_used"] = times.timestamp(at).decode()


def change(path: str, file: int, action: "Change") -> None:
    """Change the mappings as the action does, and note the heads that it returns in the history.

    The history is written first, because what it lacks could not be restored.
    """
    from shim.store import history

    mappings = load(path, file)
    history.remember_all(path.rpartition("/")[0], action(mappings))
    _commit(path, file, {room: entries for room, entries in mappings.items() if entries})


def drop(path: str, file: int, doomed: "Document") -> int:
    """Drop mappings, each unless it was used or changed since; return how many were dropped."""
    mappings = load(path, file)
    left: Document = {}
    for room, entries in mappings.items():
        for agent, entry in entries.items():
            if doomed.get(room, {}).get(agent) != entry:
                left.setdefault(room, {})[agent] = entry
    dropped = sum(map(len, mappings.values())) - sum(map(len, left.values()))
    if dropped:
        _commit(path, file, left)
    return dropped


def _repair(path: str, file: int, data: bytes, repaired: "Document", problem: str) -> None:
    kept = ""
    if data.strip():
        try:
            kept = f"; the damaged file is kept as {locked_file.keep_aside(path, data)}"
        except OSError as reason:
            warn(f"{path} is damaged: {problem}; left as it is ({reason.strerror})")
            return
    count = sum(map(len, repaired.values()))
    recovered = "1 mapping was" if count == 1 else f"{count} mappings were"
    warn(f"{path} is damaged: {problem}; {recovered} recovered{kept}")
    _try_to_commit(path, file, repaired)


def _try_to_commit(path: str, file: int, mappings: "Document") -> None:
    try:
        _commit(path, file, mappings)
    except OSError as problem:
        explain(f"{path} cannot be written: {problem.strerror}")


def _commit(path: str, file: int, mappings: "Document") -> None:
    """Write a document, and before that note the heads that only the backup still has."""
    _remember_replaced_heads(path, file)
    locked_file.commit(path, file, document.dump(mappings))


def _remember_replaced_heads(path: str, file: int) -> None:
    """Note the heads of the backup that another program has replaced in the file."""
    from shim.store import history

    try:
        mappings, backup = document.parse(content(file)), _backup(path)
        heads = [
            (room, agent, entry)
            for room, entries in backup.items()
            for agent, entry in entries.items()
            if mappings.get(room, {}).get(agent, entry)["uuid"] != entry["uuid"]
        ]
        history.remember_all(path.rpartition("/")[0], heads)
    except (document.InvalidDocument, OSError):
        return  # a damaged file is repaired from the backup
