"""The files of a conversation, whose new content is appended to its log.

Those are the transcript, and the sidecars that claude writes into the directory of the
conversation's name: long tool results and the transcripts of subagents. A sidecar is appended
before the line of the transcript that names it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.claude import transcripts
from shim.fleet import records
from shim.fleet.backend import Unavailable
from shim.fleet.log import Chunk
from shim.fleet.records import TRANSCRIPT
from shim.fleet.synced_offset import Rewritten, SyncedOffset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.fleet.log import Log

_CHUNK = 1 << 20
# Seconds for a file that is appended anew, from its first byte.
_FULL_APPEND_TIMEOUT = 60.0

_Look = tuple[int, int, int]


@dataclass(frozen=True)
class _Pending:
    """A range of an open file that the log lacks."""

    name: str
    file: int
    start: int
    stop: int


class FollowedFiles:
    """The files of a conversation; `synced` is how much of each its log has, by name."""

    def __init__(self, transcript: str, synced: dict[str, SyncedOffset]) -> None:
        self.transcript = transcript
        self.synced = synced
        self._looks: dict[str, _Look] = {}

    def path(self, name: str) -> str:
        """Where a file is, by its name in the log."""
        return f"{transcripts.sidecars_of(self.transcript)}/{name}" if name else self.transcript

    def lag(self) -> int:
        """Bytes of the transcript that the log lacks."""
        try:
            size = os.stat(self.transcript).st_size
        except OSError:
            return 0
        return max(0, size - self.synced.get(TRANSCRIPT, SyncedOffset()).size)

    def has_news(self) -> bool:
        """Whether a file has changed since it was last appended."""
        if _is_news(self.transcript, self._looks.get(TRANSCRIPT)):
            return True
        return any(_is_news(self.path(name), self._looks.get(name)) for name in self._sidecars())

    async def append(self, log: Log, deadline: float) -> None:
        """Append what is new, until a deadline by the clock of the running loop.

        Raises Rewritten, Conflict, Unavailable.
        """
        # The transcript is looked at first: the sidecars that it names are complete by then.
        look = _look(self.transcript)
        if look is None or not self.has_news():
            return
        with _Opened(self.transcript) as file:
            pending = self._offset(TRANSCRIPT).pending_range(file, is_lines=True)
            for name in list(self._sidecars()):
                await self._append_sidecar(log, name, deadline)
            if pending:
                await self._send(log, _Pending(TRANSCRIPT, file, *pending), deadline)
        self._looks[TRANSCRIPT] = look

    def has_all(self, synced: dict[str, SyncedOffset]) -> bool:
        """Whether all files are here, unchanged, of which the log has a part."""
        try:
            return TRANSCRIPT in synced and all(
                self._matches(name, offset) for name, offset in synced.items()
            )
        except OSError:
            return False

    def _matches(self, name: str, offset: SyncedOffset) -> bool:
        with _Opened(self.path(name)) as file:
            return offset.matches(file) and not offset.cuts

    async def append_again(self, log: Log) -> int:
        """Append all files from their first byte; returns the sequence of the first record."""
        first, clock = 0, asyncio.get_running_loop().time
        for name in [*self._sidecars(), TRANSCRIPT]:
            offset = self.synced[name] = SyncedOffset(cuts=True)
            with _Opened(self.path(name)) as file:
                pending = offset.pending_range(
                    file, name.endswith(transcripts.ENDING) or name == TRANSCRIPT
                )
                if pending:
                    first = first or log.sequence + 1
                    deadline = clock() + _FULL_APPEND_TIMEOUT
                    await self._send(log, _Pending(name, file, *pending), deadline)
        return first

    def _offset(self, name: str) -> SyncedOffset:
        return self.synced.setdefault(name, SyncedOffset())

    def _sidecars(self) -> Iterator[str]:
        directory = transcripts.sidecars_of(self.transcript)
        if not os.path.isdir(directory):
            return
        for where, _, names in os.walk(directory):
            for name in sorted(names):
                path = f"{where}/{name}"
                if _look(path) is not None and not os.path.islink(path):
                    yield os.path.relpath(path, directory)

    async def _append_sidecar(self, log: Log, name: str, deadline: float) -> None:
        path = self.path(name)
        look = _look(path)
        if look is None or look == self._looks.get(name):
            return
        with _Opened(path) as file:
            is_lines = name.endswith(transcripts.ENDING)
            try:
                pending = self._offset(name).pending_range(file, is_lines)
            except Rewritten:
                self.synced[name] = SyncedOffset(cuts=True)
                pending = self.synced[name].pending_range(file, is_lines)
            if pending:
                await self._send(log, _Pending(name, file, *pending), deadline)
        self._looks[name] = look

    async def _send(self, log: Log, pending: _Pending, deadline: float) -> None:
        """Append a pending range, in as many records as that takes.

        What replaces a part of the log takes effect only when all of it is there.
        """
        at, stop = pending.start, pending.stop
        offset = self._offset(pending.name)
        replaces = offset.cuts
        clock = asyncio.get_running_loop().time
        while True:
            body = os.pread(pending.file, min(_CHUNK, stop - at), at)
            if not body:
                stop = at  # the file was truncated meanwhile
            if clock() > deadline and not replaces:
                raise Unavailable("appending takes longer than a turn may wait for it")
            for piece in list(records.pieces(body)) or [b""]:
                start, at = at, at + len(piece)
                chunk = Chunk(pending.name, start, piece, is_continued=replaces and at < stop)
                await log.append_data(chunk, max(deadline - clock(), 0.1))
                if not replaces:
                    offset.move_to(pending.file, at)
            if at >= stop:
                break
        offset.move_to(pending.file, at)


class _Opened:
    """A file, open for reading inside the block."""

    def __init__(self, path: str) -> None:
        self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)

    def __enter__(self) -> int:
        return self._file

    def __exit__(self, *_: object) -> None:
        os.close(self._file)


def _is_news(path: str, before: _Look | None) -> bool:
    look = _look(path)
    return look is not None and look != before


def _look(path: str) -> _Look | None:
    """What changes about a file when it is written to; None where there is no regular file."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        # The transcript of a temporary config directory is a link to the usual one's.
        return _look(os.path.realpath(path)) if stat.S_ISLNK(status.st_mode) else None
    return status.st_ino, status.st_size, status.st_mtime_ns
