"""What the fleet needs of its servers: a log for each conversation, a map of rooms, heartbeats."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from shim.base.messages import Failure

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from shim.fleet.records import LeaseHolder, Record


AGREEMENT_TIMEOUT = 10.0
"""Seconds that servers get to elect a leader."""


class Unavailable(Failure):
    """The backend cannot be used now. The message names the reason and what to do."""


class Conflict(Exception):
    """Somebody else wrote first: what was to be appended or replaced is not the last any more."""


@dataclass(frozen=True)
class Stored:
    """A record in its place in the log."""

    sequence: int
    record: Record
    time: str
    """When the server stored it, by its own clock, as RFC 3339."""
    follows: int | None
    """The sequence of the record before it; 0 for a conversation's first."""


@dataclass(frozen=True)
class RoomEntry:
    """What the fleet knows of a room, and the revision to name when it is replaced."""

    value: dict[str, Any] | None
    """None for a room that nobody has registered."""
    revision: int
    """0 for a key that was never written."""


class Backend(Protocol):
    """A connection to the fleet's servers. Every method may raise Unavailable.

    `stream` identifies where the logs are stored: sequences of another stream mean other records.
    """

    stream: str

    @property
    def why(self) -> str:
        """Why the servers cannot be used, or empty."""

    @property
    def is_here(self) -> bool:
        """Whether the servers can be used now, as far as this side knows."""

    async def wait_until_ready(self) -> bool:
        """Wait while the servers are about to be usable, for AGREEMENT_TIMEOUT at most.

        Returns whether they are usable. Servers that do not answer at all are not waited for.
        """

    async def append(self, conversation: str, record: Record, after: int, timeout: float) -> int:
        """Append a record behind the one with the sequence `after` (0: none); returns its own.

        Where the outcome is unknown, this finds out, or raises Unavailable within `timeout`
        seconds: sending the same record again then stores it once. Raises Conflict.
        """

    async def last(self, conversation: str) -> Stored | None:
        """The last record of a conversation. A read proves nothing before a later append does."""

    def records(self, conversation: str, after: int, until: int) -> AsyncIterator[Stored]:
        """The records of a conversation behind one sequence, up to another that exists.

        Raises Hostile for payloads that are no records of ours.
        """

    async def holders(self) -> dict[str, tuple[LeaseHolder | None, str]]:
        """Who wrote the last record of each conversation, and when, as RFC 3339.

        None stands for a record that this host cannot read.
        """

    async def purge(self, conversation: str, before: int | None = None) -> None:
        """Delete the records of a conversation: all, or those before a sequence."""

    def watch(
        self, conversation: str = "", room: str = ""
    ) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever a conversation, or the entry of a room, may have changed.

        Where this host may not watch rooms, those never set it.
        """

    async def room(self, name: str) -> RoomEntry:
        """The entry of a room."""

    async def rooms(self) -> list[dict[str, Any]]:
        """The entries of all rooms."""

    async def put_room(self, name: str, value: dict[str, Any] | None, after: int) -> None:
        """Replace the entry that has the revision `after`; None deletes it. Raises Conflict."""

    async def put_heartbeat(self, host: str, value: dict[str, Any] | None) -> None:
        """Store a heartbeat of this host, which expires after `life` seconds; None removes it."""

    async def heartbeat_of(self, host: str) -> dict[str, Any] | None:
        """The last heartbeat of a host, or None once it has expired."""

    async def heartbeats(self) -> dict[str, dict[str, Any]]:
        """The heartbeats of all hosts."""

    async def now(self) -> float:
        """The server's clock, as of a moment ago, in seconds since 1970."""

    async def space_used(self) -> float:
        """How much of the space for conversations is used, from 0 to 1; 0 without a limit."""

    async def about(self) -> dict[str, Any]:
        """The `engine` object of the protocol's `status`."""
