"""One conversation's log, as this host writes it: leased by a record, fenced by every append."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from shim.fleet.backend import Conflict
from shim.fleet.records import CLAIM, DATA, RELEASE, LeaseHolder, Record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shim.fleet.backend import Backend, Stored
    from shim.fleet.host import Host

APPEND_TIMEOUT = 5.0
"""Seconds that an append may take."""

# A server that was down has forgotten hosts that live: their heartbeats return within seconds.
_RETURNS_WITHIN = 3.0
# A wait that another daemon of this host began longer ago says nothing any more.
_WAIT_COUNTS_FOR = 60.0


class Held(Exception):
    """Another host holds the lease: `by` is the last record of the log."""

    def __init__(self, by: Stored) -> None:
        super().__init__(by.record.holder.hostname)
        self.by = by


@dataclass(frozen=True)
class Chunk:
    """A piece of a file: where its body goes, and whether the next record belongs to it, too."""

    file: str
    offset: int
    body: bytes
    is_continued: bool = False


class Log:
    """A log whose lease is not held yet.

    While it is held, `sequence` is that of its last record, and `previous` that of the record
    before the lease, or 0. `appended` counts the records appended so far, and `data_sequence` is
    the sequence of the last one that has content.
    """

    def __init__(self, backend: Backend, conversation: str, this_host: Host) -> None:
        self.conversation = conversation
        self.sequence = 0
        self.previous = 0
        self.data_sequence = 0
        self.generation = 0
        self.is_held = False
        self.appended = 0
        self._backend = backend
        self._this_host = this_host
        self._holder = _holder(this_host, 0, "", "")
        self._unknown: Record | None = None

    async def acquire(self, pid: int, kind: str, project: str = "") -> None:
        """Acquire the lease, also from a host that is dead. Raises Held, Unavailable."""
        self._holder = _holder(self._this_host, pid, kind, project)
        self._unknown = None
        while True:
            last = await self._backend.last(self.conversation)
            if last is not None and self._is_foreign(last.record):
                await self._require_dead(last)
            self.generation = (last.record.generation if last else 0) + 1
            after = last.sequence if last else 0
            try:
                self.sequence = await self._backend.append(
                    self.conversation, self._record(CLAIM), after, APPEND_TIMEOUT
                )
            except Conflict:
                continue  # another host was faster: find out which
            self.previous = after
            self.is_held = True
            return

    def abandon(self) -> None:
        """Forget the lease without a release: an append that was begun must not be completed."""
        self.is_held, self._unknown = False, None

    async def last(self) -> Stored | None:
        """The last record, whoever holds the lease. Raises Unavailable."""
        return await self._backend.last(self.conversation)

    async def append_data(self, chunk: Chunk, timeout: float = APPEND_TIMEOUT) -> None:
        """Append a piece of a file. Raises Conflict where the lease is lost, Unavailable."""
        if self._unknown is not None:
            await self._append(self._unknown, timeout)  # first of all: it may be stored already
        record = replace(
            self._record(DATA),
            file=chunk.file,
            offset=chunk.offset,
            is_continued=chunk.is_continued,
            body=chunk.body,
        )
        await self._append(record, timeout)
        self.data_sequence = self.sequence

    async def release(self) -> None:
        """Release the lease. Raises Conflict, Unavailable.

        From here on nothing may be appended before the lease is acquired anew: a release whose
        outcome is unknown may be the last record already.
        """
        if self._unknown is not None:
            await self._append(self._unknown, APPEND_TIMEOUT)
        self.is_held = False
        await self._append(self._record(RELEASE), APPEND_TIMEOUT)

    def records(self, after: int, until: int) -> AsyncIterator[Stored]:
        """The records behind a sequence, up to another. Raises Unavailable, Hostile."""
        return self._backend.records(self.conversation, after, until)

    async def purge(self, before: int) -> None:
        """Delete the records before a sequence. Raises Unavailable."""
        await self._backend.purge(self.conversation, before)

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
        """Make sure that the holder's host gives no heartbeat any more. Raises Held, Unavailable.

        The wait outlives this daemon: the next one waits for the rest of it.
        """
        wait = _Wait(self._this_host.directory, last.record.holder.host)
        if await self._backend.heartbeat_of(wait.host) is not None:
            wait.end()
            raise Held(last)
        await asyncio.sleep(wait.remaining())
        wait.end()
        now = await self._backend.last(self.conversation)
        is_back = await self._backend.heartbeat_of(wait.host) is not None
        if (
            now is not None
            and self._is_foreign(now.record)
            and (is_back or now.sequence != last.sequence)
        ):
            raise Held(now)


class _Wait:
    """How long a host has been silent, as this host has seen: the time of an empty file."""

    def __init__(self, directory: str, host: str) -> None:
        self.host = host
        self._path = f"{directory}/silent-{host}" if directory and host.isalnum() else ""

    def remaining(self) -> float:
        """Seconds to wait yet; the first question starts the wait."""
        if not self._path:
            return _RETURNS_WITHIN
        with contextlib.suppress(OSError):
            waited = time.time() - os.stat(self._path).st_mtime
            if 0 <= waited <= _WAIT_COUNTS_FOR:
                return max(_RETURNS_WITHIN - waited, 0.0)
        with contextlib.suppress(OSError):
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(self._path)
        return _RETURNS_WITHIN

    def end(self) -> None:
        """Forget the wait: its outcome is known."""
        if self._path:
            with contextlib.suppress(OSError):
                os.unlink(self._path)


def _holder(host: Host, pid: int, kind: str, project: str) -> LeaseHolder:
    return LeaseHolder(host.host, host.hostname, host.incarnation, pid, kind, project)
