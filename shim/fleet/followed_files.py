"""The files of a conversation, of which what is new goes to its log: before a line what it names.

Those are the transcript, and beside it what claude keeps in the directory of the conversation's
name: long tool results, subagents' transcripts.
"""

from __future__ import annotations

import asyncio
import os
import stat
from typing import TYPE_CHECKING

from shim.claude import transcripts
from shim.fleet import records
from shim.fleet.backend import Unavailable
from shim.fleet.records import TRANSCRIPT
from shim.fleet.synced_offset import Rewritten, SyncedOffset

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.fleet.log import Log

_CHUNK = 1 << 20
# Seconds for a file of a conversation that is written anew.
_TAKES_WITHIN = 60.0

_Look = tuple[int, int, int]


class FollowedFiles:
    """The files of a conversation; `tails` is how much of each is in its log."""

    def __init__(self, transcript: str, tails: dict[str, SyncedOffset]) -> None:
        self.transcript = transcript
        self.tails = tails
        self._looks: dict[str, _Look] = {}

    def path(self, name: str) -> str:
        """Where one of the files is."""
        sidecars = transcripts.sidecars_of(self.transcript)
        return f"{sidecars}/{name}" if name else self.transcript

    def behind(self) -> int:
        """How many bytes of the transcript are not in the log yet."""
        try:
            size = os.stat(self.transcript).st_size
        except OSError:
            return 0
        return max(0, size - self.tails.get(TRANSCRIPT, SyncedOffset()).size)

    async def append(self, log: Log, deadline: float) -> None:
        """Append what is new. Raises Rewritten, Conflict, Unavailable.

        `deadline` is one of the running loop's clock.
        """
        # The transcript is looked at first: what it names by then is beside it already.
        look = _look(self.transcript)
        if look is None or not self.has_news():
            return
        with _Opened(self.transcript) as file:
            pending_range = self._tail(TRANSCRIPT).pending_range(file, is_lines=True)
            for name in list(self._sidecars()):
                await self._append_sidecar(log, name, deadline)
            if pending_range:
                await self._send(log, TRANSCRIPT, file, pending_range, deadline)
        self._looks[TRANSCRIPT] = look

    def has_all(self, tails: dict[str, SyncedOffset]) -> bool:
        """Whether all files are here of which something is in the log, and as they are there."""
        try:
            are_held = (self._holds(name, tail) for name, tail in tails.items())
            return TRANSCRIPT in tails and all(are_held)
        except OSError:
            return False

    def _holds(self, name: str, tail: SyncedOffset) -> bool:
        with _Opened(self.path(name)) as file:
            return tail.holds(file) and not tail.cuts

    async def append_again(self, log: Log) -> int:
        """Append all files whole, and return the sequence of the first of these records."""
        first, clock = 0, asyncio.get_running_loop().time
        for name in [*self._sidecars(), TRANSCRIPT]:
            self.tails[name] = SyncedOffset(cuts=True)
            with _Opened(self.path(name)) as file:
                pending_range = self.tails[name].pending_range(
                    file, name.endswith(transcripts.ENDING) or not name
                )
                if pending_range:
                    first = first or log.sequence + 1
                    await self._send(log, name, file, pending_range, clock() + _TAKES_WITHIN)
        return first

    def _tail(self, name: str) -> SyncedOffset:
        return self.tails.setdefault(name, SyncedOffset())

    def has_news(self) -> bool:
        """Whether a file has changed since it was looked at, and is still there."""
        if _is_news(self.transcript, self._looks.get(TRANSCRIPT)):
            return True
        return any(_is_news(self.path(name), self._looks.get(name)) for name in self._sidecars())

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
            tail, is_lines = self._tail(name), name.endswith(transcripts.ENDING)
            try:
                pending_range = tail.pending_range(file, is_lines)
            except Rewritten:
                tail = self.tails[name] = SyncedOffset(cuts=True)
                pending_range = tail.pending_range(file, is_lines)
            if pending_range:
                await self._send(log, name, file, pending_range, deadline)
        self._looks[name] = look

    async def _send(
        self, log: Log, name: str, file: int, pending_range: tuple[int, int], deadline: float
    ) -> None:
        """Append a stretch of a file, in as many records as that takes.

        What is cut off counts only when all that takes its place is there.
        """
        at, stop = pending_range
        cuts = self._tail(name).cuts
        clock = asyncio.get_running_loop().time
        while True:
            body = os.pread(file, min(_CHUNK, stop - at), at)
            if not body:
                stop = at  # the file was cut meanwhile
            if clock() > deadline and not cuts:
                raise Unavailable("to append what is new takes longer than a turn may wait for it")
            pieces = list(records.pieces(body)) or [b""]
            for piece in pieces:
                at += len(piece)
                is_continued = cuts and at < stop
                await log.append_data(
                    name, at - len(piece), piece, is_continued, max(deadline - clock(), 0.1)
                )
                if not cuts:
                    self._tail(name).move_to(file, at)
            if at >= stop:
                break
        self._tail(name).move_to(file, at)


class _Opened:
    """An open file, of which the descriptor is used."""

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
    """What changes of a file when it is written to; None where it is none."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        # The transcript of a temporary account is a link to the usual one's.
        return _look(os.path.realpath(path)) if stat.S_ISLNK(status.st_mode) else None
    return status.st_ino, status.st_size, status.st_mtime_ns
