"""A fleet's backend in memory, for tests of what is built on one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from shim.base import times
from shim.fleet import records
from shim.fleet.backend import Conflict, RoomEntry, Stored, Unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shim.fleet.records import LeaseHolder, Record


class Memory:
    """What the servers of a backend store."""

    def __init__(self) -> None:
        self.stored: list[tuple[str, Stored]] = []
        self.values: dict[str, dict[str, Any]] = {}
        self.revisions: dict[str, int] = {}
        self.alive: dict[str, dict[str, Any]] = {}
        self.sequence = 0
        self.watches: list[tuple[str, str, asyncio.Event]] = []
        self.clock = 1767322800.0
        """Seconds since 1970, by which records are stored."""


class MemoryBackend:
    """A host's connection to a backend; `why`, where set, is why it is unavailable to that host."""

    def __init__(self, memory: Memory | None = None) -> None:
        self.memory = memory or Memory()
        self.why = ""
        self.stream = "memory"
        self.life = 30.0
        self.loses_the_next_answer = False

    @property
    def stored(self) -> list[tuple[str, Stored]]:
        """All records, each with its conversation."""
        return self.memory.stored

    @property
    def alive(self) -> dict[str, dict[str, Any]]:
        """The hosts that are alive."""
        return self.memory.alive

    @property
    def is_here(self) -> bool:
        return not self.why

    async def wait_until_ready(self) -> bool:
        return self.is_here

    async def append(self, conversation: str, record: Record, after: int, timeout: float) -> int:
        self._require()
        last = await self.last(conversation)
        if last is not None and last.record.nonce == record.nonce:
            return last.sequence
        if (last.sequence if last else 0) != after:
            raise Conflict(conversation)
        self.memory.sequence += 1
        copy = records.from_bytes(record.to_bytes())
        copied = Stored(self.memory.sequence, copy, self._stamp(), after)
        self.stored.append((conversation, copied))
        self._tell(conversation)
        if self.loses_the_next_answer:
            self.loses_the_next_answer = False
            raise Unavailable("the answer came too late")
        return self.memory.sequence

    async def last(self, conversation: str) -> Stored | None:
        self._require()
        return next((it for name, it in reversed(self.stored) if name == conversation), None)

    async def records(self, conversation: str, after: int, until: int) -> AsyncIterator[Stored]:
        self._require()
        for name, stored in list(self.stored):
            if name == conversation and after < stored.sequence <= until:
                yield stored

    async def purge(self, conversation: str, before: int | None = None) -> None:
        self._require()
        self.memory.stored = [
            (name, it)
            for name, it in self.stored
            if name != conversation or (before is not None and it.sequence >= before)
        ]

    @contextlib.asynccontextmanager
    async def watch(self, conversation: str = "", room: str = "") -> AsyncIterator[asyncio.Event]:
        event = asyncio.Event()
        self.memory.watches.append((conversation, room, event))
        yield event
        self.memory.watches.remove((conversation, room, event))

    async def room(self, name: str) -> RoomEntry:
        self._require()
        return RoomEntry(self.memory.values.get(name), self.memory.revisions.get(name, 0))

    async def rooms(self) -> list[dict[str, Any]]:
        return list(self.memory.values.values())

    async def put_room(self, name: str, value: dict[str, Any] | None, after: int) -> None:
        self._require()
        if self.memory.revisions.get(name, 0) != after:
            raise Conflict(name)
        self.memory.revisions[name] = after + 1
        self._tell(name)
        if value is None:
            self.memory.values.pop(name, None)
        else:
            self.memory.values[name] = value

    async def put_heartbeat(self, host: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self.alive.pop(host, None)
        else:
            self.alive[host] = value

    async def heartbeat_of(self, host: str) -> dict[str, Any] | None:
        return self.alive.get(host)

    async def heartbeats(self) -> dict[str, dict[str, Any]]:
        return self.alive

    async def holders(self) -> dict[str, tuple[LeaseHolder | None, str]]:
        return {name: (it.record.holder, it.time) for name, it in self.stored}

    async def now(self) -> float:
        return self.memory.clock

    async def space_used(self) -> float:
        return 0.0

    async def about(self) -> dict[str, Any]:
        return {}

    def _tell(self, name: str) -> None:
        for conversation, room, event in self.memory.watches:
            if name in (conversation, room):
                event.set()

    def _stamp(self) -> str:
        return times.timestamp(int(self.memory.clock * 1e9)).decode()

    def _require(self) -> None:
        if self.why:
            raise Unavailable(self.why)
