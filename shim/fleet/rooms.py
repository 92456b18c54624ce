"""The fleet's entry of each room and agent: its head, its earlier heads, and its open forks.

Every change is a compare-and-set: two hosts that change an entry at once both succeed.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from shim.base import times
from shim.base.session_key import is_session_id
from shim.fleet.backend import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shim.fleet.backend import Backend
    from shim.fleet.host import Host
    from shim.fleet.notes import Note

    Entry = dict[str, Any]

_MOST_EARLIER_HEADS = 20


def key(room: str, agent: str) -> str:
    """The name of an entry, of characters that the bucket allows."""
    return hashlib.sha256(f"{room}\0{agent}".encode("utf-8", "surrogatepass")).hexdigest()


async def head(backend: Backend, room: str, agent: str, pending: Iterable[Note]) -> str | None:
    """The session id of a room and agent, or None where the fleet knows none.

    `pending` are moves of the head that this host has not sent yet: they come first. Raises
    Unavailable.
    """
    for note in pending:
        if (note.room, note.agent) == (room, agent):
            return note.session_id
    return _head((await backend.room(key(room, agent))).value)


async def move(backend: Backend, this_host: Host, note: Note, session_id: str) -> None:
    """Make a conversation the head of its room; the head before becomes an earlier one.

    Raises Unavailable.
    """

    def change(entry: Entry | None) -> Entry | None:
        before = _head(entry)
        if before == session_id:
            return None
        earlier = [it for it in _earlier(entry) if it != session_id]
        if before is not None:
            earlier = [*earlier, before][-_MOST_EARLIER_HEADS:]
        forks = [fork for fork in open_forks(entry) if fork["session_id"] != session_id]
        moved = _entry(this_host, note, session_id)
        return {**(entry or {}), **moved, "earlier": earlier, "forks": forks}

    await _change(backend, note, change)
    note.owes_move = note.owes_head = False


async def register(backend: Backend, this_host: Host, note: Note) -> str:
    """Register the room of a note with its conversation as the head, where the fleet knows none.

    Returns the head that the room has then. Raises Unavailable.
    """

    def registered(entry: Entry | None) -> Entry | None:
        if _head(entry) is not None:
            return None
        return _entry(this_host, note, note.session_id) | {
            "earlier": _earlier(entry),
            "forks": open_forks(entry),
        }

    entry = await _change(backend, note, registered)
    note.owes_head = False
    return _head(entry) or note.session_id


async def list_fork(backend: Backend, this_host: Host, note: Note) -> None:
    """List a conversation as an open fork of its room, so that every host can find it.

    Raises Unavailable.
    """

    def listed(entry: Entry | None) -> Entry | None:
        forks = open_forks(entry)
        if note.session_id in [fork["session_id"] for fork in forks]:
            return None
        if entry is None and not note.fork_of:
            return None  # 0.2 has not noted what it is a fork of
        fork = {
            "session_id": note.session_id,
            "of": note.fork_of,
            "host": this_host.host,
            "hostname": this_host.hostname,
            "since": times.now(),
        }
        entry = entry or _entry(this_host, note, note.fork_of) | {"earlier": []}
        return {**entry, "forks": [*forks, fork]}

    await _change(backend, note, listed)


async def drop(backend: Backend, room: str, agent: str, known: Entry | None = None) -> None:
    """Forget a room; where `known` is given, only if that is still its entry.

    Raises Unavailable.
    """
    name = key(room, agent)
    while True:
        found = await backend.room(name)
        if found.value is None or (known is not None and found.value != known):
            return
        try:
            await backend.put_room(name, None, found.revision)
        except Conflict:
            continue
        return


def open_forks(entry: Entry | None) -> list[Entry]:
    """The forks that an entry lists."""
    forks = entry.get("forks") if entry else None
    if not isinstance(forks, list):
        return []
    return [fork for fork in forks if isinstance(fork, dict) and _is_id(fork.get("session_id"))]


async def _change(
    backend: Backend, note: Note, change: Callable[[Entry | None], Entry | None]
) -> Entry | None:
    """Change the entry of a note's room, which is returned; a change of None leaves it."""
    name = key(note.room, note.agent)
    while True:
        found = await backend.room(name)
        changed = change(found.value)
        if changed is None:
            return found.value
        try:
            await backend.put_room(name, changed, found.revision)
        except Conflict:
            continue  # another host was faster
        return changed


def _entry(this_host: Host, note: Note, session_id: str) -> Entry:
    return {
        "room": note.room,
        "agent": note.agent,
        "session_id": session_id,
        "host": this_host.host,
        "hostname": this_host.hostname,
        "moved": times.now(),
    }


def _head(entry: Entry | None) -> str | None:
    found = entry.get("session_id") if entry else None
    return found if _is_id(found) else None


def _is_id(value: object) -> bool:
    return isinstance(value, str) and is_session_id(value)


def _earlier(entry: Entry | None) -> list[str]:
    earlier = entry.get("earlier") if entry else None
    return [str(it) for it in earlier] if isinstance(earlier, list) else []
