"""One conversation's log as this host writes it: taken by a lease, and fenced by each append."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from shim.fleet.backend import Conflict
from shim.fleet.records import CLAIM, DATA, RELEASE, LeaseHolder, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shim.fleet.backend import Backend, Stored
    from shim.fleet.host import Host

APPEND_TIMEOUT = 5.0
"""Seconds that an append is given."""

# A server that was down has forgotten living hosts; they are back within this many seconds.
_RETURNS_WITHIN = 3.0


class Held(Exception):
    """Another host has the conversation: `by` is its last record."""

    def __init__(self, by: Stored) -> None:
        super().__init__(by.record.holder.hostname)
        self.by = by


class Log:
    """A log, not taken yet. `sequence` is that of its last record, once it is.

    `before` is that of the record before the lease, or 0. `appended` counts the records that were
    appended.
    """

    def __init__(self, backend: Backend, conversation: str, this_host: Host) -> None:
        self.conversation = conversation
        self.sequence = 0
        self.before = 0
        self.generation = 0
        self.is_held = False
        self._backend = backend
        self._this_host = this_host
        self._holder = LeaseHolder(this_host.host, this_host.hostname, this_host.incarnation, 0, "")
        self.appended = 0
        self._unknown: Record | None = None

    async def acquire(self, pid: int, kind: str, project: str = "") -> None:
        """Take it by a lease, from a host that is dead, too. Raises Held, Unavailable."""
        this_host = self._this_host
        self._holder = LeaseHolder(
            this_host.host, this_host.hostname, this_host.incarnation, pid, kind, project
        )
        self._unknown = None
        while True:
            last = await self._backend.last(self.conversation)
            if last is not None and self._is_foreign(last.record):
                await self._require_dead(last)
            self.generation = (last.record.generation if last else 0) + 1
            claim = self._record(CLAIM)
            after = last.sequence if last else 0
            try:
                self.sequence = await self._backend.append(
                    self.conversation, claim, after, APPEND_TIMEOUT
                )
            except Conflict:
                continue  # somebody was faster: look who
            self.before = after
            self.is_held = True
            return

    def abandon(self) -> None:
        """Be as if it was never taken: nothing that was begun is continued."""
        self.is_held, self._unknown = False, None

    async def last(self) -> Stored | None:
        """The last record, taken or not. Raises Unavailable."""
        return await self._backend.last(self.conversation)

    async def append_data(
        self,
        file: str,
        offset: int,
        body: bytes,
        is_continued: bool,
        timeout: float = APPEND_TIMEOUT,
    ) -> None:
        """Append to a file. Raises Conflict where the log is another's by now, Unavailable."""
        await self._resend(timeout)
        data = self._record(DATA)
        await self._append(
            replace(data, file=file, offset=offset, is_continued=is_continued, body=body),
            timeout,
        )

    async def release(self) -> None:
        """Give it back. Raises Conflict, Unavailable."""
        await self._resend(APPEND_TIMEOUT)
        await self._append(self._record(RELEASE), APPEND_TIMEOUT)
        self.is_held = False

    def records(self, after: int, until: int) -> AsyncIterator[Stored]:
        """The records behind a sequence, up to another. Raises Unavailable, Hostile."""
        return self._backend.records(self.conversation, after, until)

    async def purge(self, before: int) -> None:
        """Delete what comes before a sequence. Raises Unavailable."""
        await self._backend.purge(self.conversation, before)

    async def _resend(self, timeout: float) -> None:
        """Append what was sent and not acknowledged, first of all: it may be stored already."""
        if self._unknown is not None:
            await self._append(self._unknown, timeout)

    async def _append(self, record: Record, timeout: float) -> None:
        self._unknown = record
        try:
            self.sequence = await self._backend.append(
                self.conversation, record, self.sequence, timeout
            )
        except Conflict:
            self.is_held = False
            self._unknown = None
            raise
        self._unknown = None
        self.appended += 1

    def _record(self, kind: str) -> Record:
        return Record(kind, self._holder, self.generation, conversation=self.conversation)

    def _is_foreign(self, record: Record) -> bool:
        return record.kind != RELEASE and record.holder.host != self._this_host.host

    async def _require_dead(self, last: Stored) -> None:
        """Make sure that the holder's host gives no heartbeat any more. Raises Held,
        Unavailable.
        """
        host = last.record.holder.host
        if await self._backend.heartbeat_of(host) is not None:
            raise Held(last)
        await asyncio.sleep(_RETURNS_WITHIN)
        now = await self._backend.last(self.conversation)
        is_back = await self._backend.heartbeat_of(host) is not None
        if (
            now is not None
            and self._is_foreign(now.record)
            and (is_back or now.sequence != last.sequence)
        ):
            raise Held(now)
