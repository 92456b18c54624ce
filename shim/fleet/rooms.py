"""The fleet's entry of each room and agent: its head, its earlier heads, and its open forks.

Every change is a compare-and-set: two hosts that change an entry at once both succeed.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from shim.base import times
from shim.base.session_key import is_session_id
from shim.fleet.backend import Conflict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from shim.fleet.backend import Backend
    from shim.fleet.host import Host
    from shim.fleet.notes import Note

    Entry = dict[str, Any]

# As many as `delete` finds of those that other hosts had.
_MOST_EARLIER_HEADS = 500
_MOST_CLOSED_FORKS = 50


@dataclass(frozen=True)
class Fork:
    """A conversation whose turns the head of its room is to get.

    `until` is the sequence in its log up to which it has something, and `had` the one up to which
    the head has all of it.
    """

    session_id: str
    of: str
    host: str
    hostname: str
    since: str
    until: int
    had: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the head may lack something of it."""
        return self.had < self.until


@dataclass(frozen=True)
class Head:
    """The conversation that a room has, and the open forks of it."""

    session_id: str | None
    forks: tuple[Fork, ...] = ()


def key(room: str, agent: str) -> str:
    """The name of an entry, of characters that the bucket allows."""
    return hashlib.sha256(f"{room}\0{agent}".encode("utf-8", "surrogatepass")).hexdigest()


async def head(backend: Backend, room: str, agent: str, pending: Iterable[Note]) -> Head:
    """The head of a room and agent, as far as the fleet knows one.

    `pending` are moves of the head that this host has not sent yet: they come first. Raises
    Unavailable.
    """
    for note in pending:
        if (note.room, note.agent) == (room, agent):
            return Head(note.session_id)
    entry = (await backend.room(key(room, agent))).value
    its = _head(entry)
    return Head(its, tuple(fork for fork in forks(entry) if fork.of == its and fork.is_open))


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
        others = [fork for fork in forks(entry) if fork.session_id != session_id]
        moved = _entry(this_host, note, session_id)
        return {**(entry or {}), **moved, "earlier": earlier, "forks": _stored(others)}

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
            "forks": _stored(forks(entry)),
        }

    entry = await _change(backend, note, registered)
    note.owes_head = False
    return _head(entry) or note.session_id


async def list_fork(
    backend: Backend, this_host: Host, note: Note, session_id: str, until: int
) -> None:
    """List a fork of this host in the room of a note, so that every host can find it.

    It is the conversation of the note, a fork of `note.fork_of`, or the fork that this has become.
    Its log has something up to the sequence `until`. Raises Unavailable.
    """
    parent = note.fork_of or (note.session_id if note.session_id != session_id else "")

    def listed(entry: Entry | None) -> Entry | None:
        if entry is None and not parent:
            return None  # 0.2 has not noted what it is a fork of
        known = {fork.session_id: fork for fork in forks(entry)}
        before = known.get(session_id)
        if before is not None and before.until >= until:
            return None
        of = parent or _head(entry) or ""
        new = Fork(session_id, of, this_host.host, this_host.hostname, times.now(), until)
        known[session_id] = replace(before, until=until) if before else new
        entry = entry or _entry(this_host, note, of) | {"earlier": []}
        return {**entry, "forks": _stored(known.values())}

    await _change(backend, note, listed)


async def close_forks(backend: Backend, note: Note, had: Mapping[str, int]) -> None:
    """Note that the head of a note's room has all of some forks, up to a sequence of each log.

    Raises Unavailable.
    """

    def closed(entry: Entry | None) -> Entry | None:
        before = forks(entry)
        after = [replace(fork, had=max(fork.had, had.get(fork.session_id, 0))) for fork in before]
        return None if after == before else {**(entry or {}), "forks": _stored(after)}

    await _change(backend, note, closed)


async def find_fork(backend: Backend, note: Note) -> Fork | None:
    """What is listed of the fork of a note. Raises Unavailable."""
    entry = (await backend.room(key(note.room, note.agent))).value
    return next((fork for fork in forks(entry) if fork.session_id == note.session_id), None)


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


def forks(entry: Entry | None) -> list[Fork]:
    """The forks that an entry lists, closed ones, too."""
    listed = entry.get("forks") if entry else None
    found = (_fork(it) for it in listed) if isinstance(listed, list) else ()
    return [fork for fork in found if fork is not None]


def _fork(listed: object) -> Fork | None:
    names = [each.name for each in fields(Fork)]
    if not isinstance(listed, dict) or not all(name in listed for name in names):
        return None
    fork = Fork(**{name: listed[name] for name in names})
    is_sound = _is_id(fork.session_id) and _is_id(fork.of)
    numbers, texts = (fork.until, fork.had), (fork.host, fork.hostname, fork.since)
    is_sound = is_sound and all(isinstance(it, int) for it in numbers)
    return fork if is_sound and all(isinstance(it, str) for it in texts) else None


def _stored(listed: Iterable[Fork]) -> list[Entry]:
    """Forks as an entry lists them: all open ones, and the newest closed ones."""
    by_age = sorted(listed, key=lambda fork: fork.since)
    closed = [fork for fork in by_age if not fork.is_open]
    old = closed[: max(0, len(closed) - _MOST_CLOSED_FORKS)]
    return [asdict(fork) for fork in by_age if fork not in old]


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
