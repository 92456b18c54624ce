"""Rooms and agents in the fleet: which conversation is the head of each, on all hosts."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from shim.base import times
from shim.base.session_key import is_session_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shim.fleet.backend import Backend
    from shim.fleet.host import Host
    from shim.fleet.notes import Note

_KEPT = 20


def key(room: str, agent: str) -> str:
    """The name of a room and agent in the bucket, which takes few characters only."""
    return hashlib.sha256(f"{room}\0{agent}".encode("utf-8", "surrogatepass")).hexdigest()


async def head(backend: Backend, room: str, agent: str, pending: Iterable[Note]) -> str | None:
    """The session id that a room and agent have, or None where the fleet has not heard of them.

    A move that this host could not tell of yet comes first. Raises Unavailable.
    """
    for note in pending:
        if (note.room, note.agent) == (room, agent):
            return note.session_id
    value = await backend.room(key(room, agent))
    found = value and value.get("session_id")
    return found if isinstance(found, str) and is_session_id(found) else None


async def move(backend: Backend, this_host: Host, note: Note, session_id: str) -> None:
    """Make a conversation the head of its room; the one before becomes an earlier one.

    Raises Unavailable.
    """
    name = key(note.room, note.agent)
    value = await backend.room(name) or {}
    if value.get("session_id") != session_id:
        await backend.put_room(name, _moved(value, this_host, note, session_id))
    note.moves = False


async def remember(backend: Backend, note: Note) -> None:
    """Have a conversation known as an earlier one of its room. Raises Unavailable."""
    name = key(note.room, note.agent)
    value = await backend.room(name)
    if value is not None and note.session_id not in _earlier(value):
        earlier = [*_earlier(value), note.session_id][-_KEPT:]
        await backend.put_room(name, {**value, "earlier": earlier})
    note.is_fork = False


def _moved(
    value: dict[str, object], this_host: Host, note: Note, session_id: str
) -> dict[str, object]:
    before = value.get("session_id")
    earlier = [it for it in _earlier(value) if it != session_id]
    if isinstance(before, str):
        earlier = [*earlier, before][-_KEPT:]
    return {
        "room": note.room,
        "agent": note.agent,
        "session_id": session_id,
        "host": this_host.host,
        "hostname": this_host.hostname,
        "moved": times.now(),
        "earlier": earlier,
    }


def _earlier(value: dict[str, object]) -> list[str]:
    earlier = value.get("earlier")
    return [str(it) for it in earlier] if isinstance(earlier, list) else []
