"""An engine of a fleet in memory, for tests of what is built on one."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from shim.base import times
from shim.fleet import records
from shim.fleet.engine import Away, Refused, Stored

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shim.fleet.records import Holder, Record


class MemoryEngine:
    """An engine that any number of hosts of a test share; `why`, set, is why it is away."""

    def __init__(self) -> None:
        self.why = ""
        self.life = 30.0
        self.stored: list[tuple[str, Stored]] = []
        self.values: dict[str, dict[str, Any]] = {}
        self.signs_of_life: dict[str, dict[str, Any]] = {}
        self.loses_the_next_answer = False
        self.clock = 1767322800.0
        """Seconds since 1970, by which records are stored."""
        self._sequence = 0

    @property
    def is_here(self) -> bool:
        return not self.why

    async def append(self, conversation: str, record: Record, after: int, patience: float) -> int:
        self._require()
        last = await self.last(conversation)
        if last is not None and last.record.nonce == record.nonce:
            return last.sequence
        if (last.sequence if last else 0) != after:
            raise Refused(conversation)
        self._sequence += 1
        copy = records.from_bytes(record.to_bytes())
        self.stored.append((conversation, Stored(self._sequence, copy, self._stamp(), after)))
        if self.loses_the_next_answer:
            self.loses_the_next_answer = False
            raise Away("the answer came too late")
        return self._sequence

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
        self.stored = [
            (name, it)
            for name, it in self.stored
            if name != conversation or (before is not None and it.sequence >= before)
        ]

    @contextlib.asynccontextmanager
    async def watch(self, conversation: str) -> AsyncIterator[asyncio.Event]:
        yield asyncio.Event()

    async def room(self, name: str) -> dict[str, Any] | None:
        self._require()
        return self.values.get(name)

    async def rooms(self) -> list[dict[str, Any]]:
        return list(self.values.values())

    async def put_room(self, name: str, value: dict[str, Any] | None) -> None:
        self._require()
        if value is None:
            self.values.pop(name, None)
        else:
            self.values[name] = value

    async def say_alive(self, host: str, value: dict[str, Any] | None) -> None:
        if value is None:
            self.signs_of_life.pop(host, None)
        else:
            self.signs_of_life[host] = value

    async def sign_of(self, host: str) -> dict[str, Any] | None:
        return self.signs_of_life.get(host)

    async def signs(self) -> dict[str, dict[str, Any]]:
        return self.signs_of_life

    async def holders(self) -> dict[str, tuple[Holder, str]]:
        return {name: (it.record.holder, it.time) for name, it in self.stored}

    async def now(self) -> float:
        return self.clock

    async def taken(self) -> float:
        return 0.0

    async def about(self) -> dict[str, Any]:
        return {}

    def _stamp(self) -> str:
        return times.timestamp(int(self.clock * 1e9)).decode()

    def _require(self) -> None:
        if self.why:
            raise Away(self.why)
