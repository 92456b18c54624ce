"""What the fleet knows beyond this host, for subcommands; nothing where none is configured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from shim.base import times
from shim.base.messages import Failure, warn
from shim.base.plain_text import printable
from shim.base.session_key import stored_key
from shim.cli.confirming import Live
from shim.cli.output import size
from shim.fleet import daemon_client, overview

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shim.cli.mapped import Mapping
    from shim.fleet.overview import RemoteClaude, Room, Status
    from shim.locks.live_claudes import Claude
    from shim.store.document import Document

Key = tuple[str, str]


class Fleet:
    """The rooms of a fleet, and the claudes that run on its other hosts; of no fleet, none."""

    def __init__(self, rooms: dict[Key, Room], status: Status | None, is_configured: bool) -> None:
        self.rooms = rooms
        self.is_configured = is_configured
        self.running: dict[Key, list[RemoteClaude]] = {}
        for each in status.elsewhere if status else ():
            self.running.setdefault((each.room, each.agent), []).append(each)
        self._status = status

    def merge(self, mappings: Document, room: str | None = None) -> Document:
        """Put the fleet's conversations, of all rooms or one, into a store's; return those.

        Where the fleet has another one than the store, the next call resumes the fleet's.
        """
        for its in self.rooms.values():
            if room not in (None, its.room):
                continue
            entries = mappings.setdefault(its.room, {})
            if entries.get(its.agent, {}).get("uuid") != its.session_id:
                stamp = times.timestamp(int(its.used * 1e9)).decode()
                entries[its.agent] = {"uuid": its.session_id, "last_used": stamp}
        return mappings

    def session_ids(self) -> set[str]:
        """The conversations that some host has had."""
        return {room.session_id for room in self.rooms.values() if room.hostname}

    def earlier(self, room: str, agent: str) -> tuple[str, ...]:
        """The other conversations of a room and agent: those before, and forks, the newest last."""
        its = self.rooms.get((room, agent))
        return (*its.earlier, *its.forks) if its else ()

    def host(self, mapping: Mapping) -> str | None:
        """The name of the host that had a conversation last, where the fleet knows one."""
        room = self.rooms.get((mapping.room, mapping.agent))
        return room.hostname if room else None

    def is_elsewhere(self, mapping: Mapping) -> bool:
        """Whether another host was the last one to have a conversation."""
        room = self.rooms.get((mapping.room, mapping.agent))
        return room is not None and room.hostname is not None and not room.is_here

    def claudes(self, mapping: Mapping) -> list[RemoteClaude]:
        """The claudes of other hosts that are live for a mapping."""
        return self.running.get((mapping.room, mapping.agent), [])

    def live(self, keys: Iterable[Key]) -> list[Live]:
        """The same for some rooms and agents, as those who ask before a change need it."""
        return [
            Live(each.pid, each.kind, str(stored_key(*key)), each.hostname)
            for key in keys
            for each in self.running.get(key, [])
        ]

    def as_json(self, mapping: Mapping) -> dict[str, Any]:
        """Further JSON fields of a mapping."""
        if not self.is_configured:
            return {}
        is_live = {"live": True} if self.claudes(mapping) else {}
        return {**is_live, "host": self.host(mapping)}

    def is_fenced(self, pid: int) -> bool:
        """Whether another host has taken the conversation of a claude of this one."""
        here = self._status.here if self._status else ()
        return any(each.is_fenced for each in here if each.pid == pid != 0)

    def claude_as_json(self, claude: Claude) -> dict[str, Any]:
        """Further JSON fields of a claude of this host."""
        if self._status is None:
            return {"host": "", "fenced": False} if self.is_configured else {}
        return {"host": self._status.hostname, "fenced": self.is_fenced(claude.pid)}

    def late(self) -> Iterator[str]:
        """What the fleet does not have although claude has ended, or its answer was seen."""
        if self._status is None:
            return
        for each in self._status.here:
            if each.behind and not (each.pid and self._status.backend["is_reachable"]):
                whose = stored_key(each.room, each.agent)
                yield f"{whose}: {size(each.behind)} are not in the fleet yet"
        for failed in self._status.failed:
            whose, why = stored_key(failed.room, failed.agent), printable(failed.why)
            yield f"{whose}: an answer was seen before the fleet had it ({why})"


def known(store: str, with_rooms: bool = True) -> Fleet:
    """What the fleet knows; where it cannot be asked that is nothing, and a warning."""
    try:
        return _asked(store, with_rooms)
    except Failure as problem:
        warn(f"the fleet cannot be asked ({problem}): this is what is known here")
        return Fleet({}, None, is_configured=True)


def reached(store: str) -> Fleet:
    """What the fleet knows, before something changes in it. Raises ClickException."""
    try:
        return _asked(store, with_rooms=True)
    except Failure as problem:
        raise click.ClickException(
            f"the fleet cannot be asked ({problem}), and other hosts would not know: nothing was"
            " changed"
        ) from problem


def move_head(store: str, room: str, agent: str, session_id: str) -> None:
    """Map a room and agent to a conversation on every host, if there is a fleet."""
    if daemon_client.is_configured():
        overview.move_head(store, room, agent, session_id)


def delete(store: str, session_id: str) -> None:
    """Delete a conversation from the fleet's servers, if there are any."""
    if daemon_client.is_configured():
        overview.delete(store, session_id)


def _asked(store: str, with_rooms: bool) -> Fleet:
    if not daemon_client.is_configured():
        return Fleet({}, None, is_configured=False)
    rooms = overview.rooms(store) if with_rooms else {}
    return Fleet(rooms, overview.status(store), is_configured=True)
