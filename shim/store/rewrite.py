"""The store's rare ways: those that parse the whole of sessions.json, repair or rewrite it.

The functions on an open file are called with its lock held.
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

# Nanoseconds since its last use in which nobody cleans a mapping up for its age.
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


def recorded(path: str, file: int, room: str, agent: str, session_id: str) -> bytes:
    """The document with a room and agent mapped to a session id, used now."""
    mappings = load(path, file)
    entries = mappings.setdefault(room, {})
    known = entries.get(agent, {})
    if known and known["uuid"] != session_id:
        _remember(path, room, agent, known)
    entries[agent] = {**known, "uuid": session_id, "last_used": times.now()}
    return document.dump(mappings)


def _remember(path: str, room: str, agent: str, entry: "dict[str, Any]") -> None:
    from shim.store import history

    try:
        history.remember(path.rpartition("/")[0], room, agent, entry)
    except OSError as problem:
        warn(f"the earlier conversation {entry['uuid']} is not noted: {problem.strerror}")


def load(path: str, file: int, is_locked: bool = True) -> "Document":
    """The parsed document; one that is damaged is kept aside and repaired from its backup.

    Without the lock nothing is touched: what looks damaged may be half written.
    """
    data = content(file)
    try:
        if data.strip():
            mappings = document.parse(data)
            if locked_file.has_shrunk(path, file):
                _require_the_past(mappings, _backup(path), path)
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
    _bring_up_to_date(repaired)
    if is_locked:
        _repair(path, file, data, repaired, problem)
    return repaired


def _backup(path: str) -> "Document":
    try:
        return document.parse(locked_file.backup(path))
    except document.InvalidDocument:
        return {}


def _require_the_past(mappings: "Document", backup: "Document", path: str) -> None:
    """Make sure that the document goes on from what we last wrote. Raises Damaged.

    The seed's program begins a new one where it finds it damaged or empty, as when a process was
    killed: then all that is there was used since, and what is missing was in use. What it cleans
    up was not.
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


def _bring_up_to_date(repaired: "Document") -> None:
    """Let what was written to a conversation since the backup count as its use.

    The backup's times are those of the last change of structure, and nothing may be cleaned up for
    that.
    """
    from shim.claude import projects

    entries = [entry for agents in repaired.values() for entry in agents.values()]
    written = projects.last_written({entry["uuid"] for entry in entries})
    for entry in entries:
        at = written.get(entry["uuid"], 0)
        if at > _used(entry):
            entry["last_used"] = times.timestamp(at).decode()


def change(path: str, file: int, action: "Change") -> None:
    """Change the mappings as the action does, and note in the history the heads it returns.

    The history is written first: what it lacks could not be restored.
    """
    from shim.store import history

    mappings = load(path, file)
    history.remember_all(path.rpartition("/")[0], action(mappings))
    kept = {room: entries for room, entries in mappings.items() if entries}
    locked_file.commit(path, file, document.dump(kept))


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
        locked_file.commit(path, file, document.dump(left))
    return dropped


def _repair(path: str, file: int, data: bytes, repaired: "Document", problem: str) -> None:
    kept = ""
    if data.strip():
        try:
            kept = f"; what it held is kept as {locked_file.keep_aside(path, data)}"
        except OSError as reason:
            warn(f"{path} is damaged: {problem}; left as it is ({reason.strerror})")
            return
    count = sum(map(len, repaired.values()))
    recovered = "1 mapping was" if count == 1 else f"{count} mappings were"
    warn(f"{path} is damaged: {problem}; {recovered} recovered{kept}")
    _try_to_commit(path, file, repaired)


def _try_to_commit(path: str, file: int, mappings: "Document") -> None:
    try:
        locked_file.commit(path, file, document.dump(mappings))
    except OSError as problem:
        explain(f"{path} cannot be written: {problem.strerror}")
