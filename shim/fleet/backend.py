"""What the fleet asks of a backend: a log for each conversation, a map of rooms, heartbeats."""

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
"""Seconds that servers which have lost their leader are given to agree on another."""


class Unavailable(Failure):
    """The backend cannot be used now; the message says why, and what to do."""


class Conflict(Exception):
    """Somebody else has appended to a conversation since: it is not ours any more."""


@dataclass(frozen=True)
class Stored:
    """A record in its place in the log."""

    sequence: int
    record: Record
    time: str
    """When it was stored, as RFC 3339: by the server's clock."""
    follows: int | None
    """The sequence of the record that it was appended behind, 0 for a first one."""


class Backend(Protocol):
    """Every method may raise Unavailable. `why` says why it is away, and is empty where it is not.

    `stream` tells where all logs are from another such place, whose sequences mean other records.
    """

    why: str
    stream: str

    @property
    def is_here(self) -> bool:
        """Whether it can be used now, as far as that is known."""

    async def wait_until_ready(self) -> bool:
        """Wait for it, for seconds, where it has just gone and may be back; whether it is here."""

    async def append(self, conversation: str, record: Record, after: int, timeout: float) -> int:
        """Append a record behind the one of a sequence (0: the first), and return its own.

        An outcome that is unknown is found out about, or it raises Unavailable within `timeout`
        seconds: then the same record, sent again, is stored once. Raises Conflict.
        """

    async def last(self, conversation: str) -> Stored | None:
        """The last record of a conversation. It proves nothing until an append is accepted."""

    def records(self, conversation: str, after: int, until: int) -> AsyncIterator[Stored]:
        """The records of a conversation behind one sequence, up to another, which is there.

        Those that are no records of ours raise Hostile.
        """

    async def holders(self) -> dict[str, tuple[LeaseHolder | None, str]]:
        """Who wrote the last record of each conversation, and when, as RFC 3339.

        None where that record cannot be read here.
        """

    async def purge(self, conversation: str, before: int | None = None) -> None:
        """Delete a conversation's records: all, or those before a sequence."""

    def watch(self, conversation: str) -> AbstractAsyncContextManager[asyncio.Event]:
        """An event that is set whenever something may have been appended."""

    async def room(self, name: str) -> dict[str, Any] | None:
        """What is known of a room."""

    async def rooms(self) -> list[dict[str, Any]]:
        """What is known of all rooms."""

    async def put_room(self, name: str, value: dict[str, Any] | None) -> None:
        """Have something known of a room, or nothing."""

    async def put_heartbeat(self, host: str, value: dict[str, Any] | None) -> None:
        """Give a heartbeat of this host, which lasts for `life` seconds; None takes it back."""

    async def heartbeat_of(self, host: str) -> dict[str, Any] | None:
        """The last heartbeat of a host, or None where that is too long ago."""

    async def heartbeats(self) -> dict[str, dict[str, Any]]:
        """The heartbeats of all hosts."""

    async def now(self) -> float:
        """The time by the backend's clock, as of a moment ago, in seconds since 1970."""

    async def space_used(self) -> float:
        """Which part of the space for conversations is taken; 0 where it has no limit."""

    async def about(self) -> dict[str, Any]:
        """What `claude-shim fleet status` says of it."""
