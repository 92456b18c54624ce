"""The files of a conversation as its log has them, compared with those of this host, and brought.

Lines are compared whole, and only those behind what both are known to share. A side whose turns the
other has all gives way to it; where each has turns of its own, they are two conversations.
"""

from __future__ import annotations

import enum
import os
import tempfile
from typing import TYPE_CHECKING

from shim.claude import lines
from shim.fleet.records import DATA, TRANSCRIPT
from shim.fleet.synced_offset import last_line_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from shim.fleet.backend import Stored
    from shim.fleet.records import Record

_CHUNK = 1 << 20
_OWN = 0o600


class DamagedLog(Exception):
    """A log does not hold together: it is read no further, and nothing is written."""


class NeedsFullLog(Exception):
    """A record changes what was taken as known: the log is to be read from its start."""


class Verdict(enum.Enum):
    """What the files of a log and of this host have to do with one another."""

    SAME = "same"
    LOG_GOES_ON = "the log has lines that are missing here"
    WE_GO_ON = "here are lines that the log lacks"
    LOG_WINS = "both have lines of their own, and the log has all turns"
    WE_WIN = "both have lines of their own, and all turns are here"
    APART = "both have turns of their own"


class SnapshotFile:
    """A file as a log has it, from `base` on, before which it is as it is here.

    `is_whole` says that the log is read from its start: there is nothing in it before.
    """

    def __init__(self, base: int, is_whole: bool) -> None:
        self.base = base
        self._is_whole = is_whole
        self.end = base
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._group: list[Record] = []

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def apply(self, record: Record) -> None:
        """Change it as a record says. Raises ReachesBack, Damaged."""
        self._group.append(record)
        if record.is_continued:
            return
        group, self._group = self._group, []
        for each in group:
            is_before = each.offset < self.base or each.offset > self.end
            if is_before and not self._is_whole:
                raise NeedsFullLog
            if each.offset > self.end:
                raise DamagedLog(f"a record begins at {each.offset}, behind the end")
            os.ftruncate(self._file.fileno(), each.offset - self.base)
            os.pwrite(self._file.fileno(), each.body, each.offset - self.base)
            self.end = each.offset + len(each.body)

    def drop_unfinished(self) -> None:
        """Forget records of which the last never came: another holder goes on without them."""
        self._group = []

    def read(self, at: int, length: int) -> bytes:
        """Bytes behind the base."""
        return os.pread(self._file.fileno(), length, at - self.base)

    def end_of_lines(self) -> int:
        """Where its last whole line ends."""
        length = self.end - self.base
        return self.base + last_line_end(self._file.fileno(), 0, length)

    def lines(self, start: int, stop: int) -> Iterator[bytes]:
        """The lines between two places."""
        return _lines(self._file.fileno(), start - self.base, stop - self.base)


class Snapshot:
    """All files of a log, made from its records.

    `bases` is how much of each is known; `is_whole` says that it is made from all of the records.
    """

    def __init__(self, bases: Mapping[str, int], is_whole: bool = True) -> None:
        self._bases = bases
        self._is_whole = is_whole
        self.transcript = self._new_part(TRANSCRIPT)
        self.parts: dict[str, SnapshotFile] = {TRANSCRIPT: self.transcript}
        self.count = 0

    async def read(self, records: AsyncIterator[Stored], after: int) -> None:
        """Apply the records behind a sequence, 0 where they are all that there are.

        Each says which one it follows, so that none can be missing in between. Raises ReachesBack,
        Damaged, Unavailable, Hostile.
        """
        last = after
        async for stored in records:
            if stored.follows != last and self.count:
                raise DamagedLog("a record is missing")
            if stored.follows != last and after:
                raise NeedsFullLog  # it was deleted, and begun anew
            last = stored.sequence
            self.count += 1
            record = stored.record
            if record.kind == DATA:
                self._part(record.file).apply(record)
            else:
                for part in self.parts.values():
                    part.drop_unfinished()
        for part in self.parts.values():
            part.drop_unfinished()

    def sidecars(self) -> dict[str, SnapshotFile]:
        """The files beside the transcript that have changed."""
        return {name: part for name, part in self.parts.items() if name != TRANSCRIPT}

    def _part(self, name: str) -> SnapshotFile:
        if name not in self.parts:
            self.parts[name] = self._new_part(name)
        return self.parts[name]

    def _new_part(self, name: str) -> SnapshotFile:
        return SnapshotFile(self._bases.get(name, 0), self._is_whole)

    def close(self) -> None:
        """Let go of it."""
        for part in self.parts.values():
            part.close()


def compare(path: str, part: SnapshotFile) -> tuple[Verdict, int, int]:
    """What a transcript here and in its log have to do with one another.

    With it, up to where they are the same, and where the log's last whole line ends. Raises
    OSError.
    """
    end = part.end_of_lines()
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return (Verdict.LOG_GOES_ON if end else Verdict.SAME), 0, end
    try:
        ours = last_line_end(file, part.base, os.fstat(file).st_size)
        same = _first_difference(file, part, min(ours, end))
        if same == end:
            verdict = Verdict.SAME if ours == end else Verdict.WE_GO_ON
            return verdict, same, end
        if same == ours:
            return Verdict.LOG_GOES_ON, same, end
        same = last_line_end(file, part.base, same)
        theirs = _said(part.lines(same, end))
        our_own = _said(_lines(file, same, ours))
    finally:
        os.close(file)
    if our_own.keys() <= theirs.keys():
        return Verdict.LOG_WINS, same, end
    if {name for name, is_prompt in theirs.items() if is_prompt} <= our_own.keys():
        # Claude itself takes back answers that it began, and never a prompt.
        return Verdict.WE_WIN, same, end
    return Verdict.APART, same, end


def says_something(part: SnapshotFile, start: int, end: int) -> bool:
    """Whether there is a turn between two places of a log's file."""
    return bool(_said(part.lines(start, end)))


def apply_to(path: str, part: SnapshotFile, start: int, end: int) -> None:
    """Have a file here as its log has it, from one place to another, where it ends then.

    It stays the file it is, with all its names. Raises OSError.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _OWN)
    try:
        at = start
        while at < end:
            body = part.read(at, min(_CHUNK, end - at))
            os.pwrite(file, body, at)
            at += len(body)
        os.ftruncate(file, end)
    finally:
        os.close(file)


def apply_to_sidecar(directory: str, name: str, part: SnapshotFile) -> None:
    """Have a file beside the transcript as its log has it, where it does not go on here.

    Nothing is written through a link. Raises OSError.
    """
    path = f"{directory}/{name}"
    parent = os.path.dirname(path)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    if os.path.realpath(parent) != os.path.normpath(
        f"{os.path.realpath(directory)}/{os.path.dirname(name)}"
    ):
        raise OSError(f"{parent} is a link: nothing is written through it")
    same = _same_beside(path, part)
    if same is not None:
        apply_to(path, part, same, part.end)


def _same_beside(path: str, part: SnapshotFile) -> int | None:
    """From where on a file is to be written; None where it has all that its log has."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        size = os.fstat(file).st_size
        same = _first_difference(file, part, min(size, part.end))
    finally:
        os.close(file)
    return None if same == part.end else same


def _first_difference(file: int, part: SnapshotFile, end: int) -> int:
    at = part.base
    while at < end:
        length = min(_CHUNK, end - at)
        ours, theirs = os.pread(file, length, at), part.read(at, length)
        if ours != theirs:
            pairs = zip(ours, theirs, strict=False)
            common = next(
                (n for n, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs))
            )
            return at + common
        at += length
    return end


def _said(written: Iterator[bytes]) -> dict[str, bool]:
    """The messages among some lines, by claude's names for them, each with whether it is a prompt.

    A command that ran in claude counts as one: an answer may follow it. A message without a name
    is its own.
    """
    found = {}
    for line in written:
        entry = lines.message(line)
        if entry is not None:
            what = lines.kind(entry)
            found[str(entry.get("uuid") or line)] = what in lines.BEGINNINGS or what == lines.LOCAL
    return found


def _lines(file: int, start: int, stop: int) -> Iterator[bytes]:
    with open(os.dup(file), "rb") as ours:
        for line in lines.forward(ours, start, stop):
            yield line.content
