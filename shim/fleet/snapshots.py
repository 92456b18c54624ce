"""Snapshots of a conversation's files as its log has them; comparing and applying them.

Whole lines are compared, and only those behind what both sides are known to share. A side yields
where the other has all of its turns. Where each has turns of its own, the conversation diverged.
"""

from __future__ import annotations

import enum
import os
import tempfile
from typing import TYPE_CHECKING

from shim.claude import lines, shortening
from shim.fleet.records import DATA, TRANSCRIPT
from shim.fleet.synced_offset import last_line_end

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from shim.fleet.backend import Stored
    from shim.fleet.records import Record

_CHUNK = 1 << 20
_OWN = 0o600


class DamagedLog(Exception):
    """A log is inconsistent: reading it stops, and nothing is written."""


class NeedsFullLog(Exception):
    """A record changes what was taken as known: the log must be read from its start."""


class Verdict(enum.Enum):
    """How the transcript of a log and that of this host relate."""

    SAME = "same"
    LOG_IS_AHEAD = "the log has lines that are missing here"
    WE_ARE_AHEAD = "this host has lines that the log lacks"
    LOG_WINS = "each has lines of its own, and the log has all turns"
    WE_WIN = "each has lines of its own, and this host has all turns"
    DIVERGED = "each has turns of its own"


class SnapshotFile:
    """A file as the log has it, from the offset `base` on; before that it equals the local file.

    `is_whole` says that the log is read from its first record: nothing comes before.
    """

    def __init__(self, base: int, is_whole: bool) -> None:
        self.base = base
        self._is_whole = is_whole
        self.end = base
        self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._group: list[Record] = []

    def close(self) -> None:
        """Free its temporary file."""
        self._file.close()

    def apply(self, record: Record) -> None:
        """Apply a record. Raises NeedsFullLog, DamagedLog."""
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
        """Drop a group of records whose last one never came: they have no effect."""
        self._group = []

    def read(self, at: int, length: int) -> bytes:
        """`length` bytes from the offset `at`, which is not before the base."""
        return os.pread(self._file.fileno(), length, at - self.base)

    def end_of_lines(self) -> int:
        """The offset behind its last whole line."""
        length = self.end - self.base
        return self.base + last_line_end(self._file.fileno(), 0, length)

    def lines(self, start: int, stop: int) -> Iterator[bytes]:
        """The lines between two offsets."""
        return _lines(self._file.fileno(), start - self.base, stop - self.base)


class Snapshot:
    """All files of a log, built from its records.

    `bases` says up to which offset each local file equals the log's; `is_whole` says that it is
    built from all records.
    """

    def __init__(self, bases: Mapping[str, int], is_whole: bool = True) -> None:
        self._bases = bases
        self._is_whole = is_whole
        self.transcript = self._new_file(TRANSCRIPT)
        self.files: dict[str, SnapshotFile] = {TRANSCRIPT: self.transcript}
        self.count = 0

    async def read(self, records: AsyncIterator[Stored], after: int) -> None:
        """Apply the records behind the sequence `after`; 0 means all records.

        Each record names the one that it follows, so a missing record is noticed. Raises
        NeedsFullLog, DamagedLog, Unavailable, Hostile.
        """
        last = after
        async for stored in records:
            if stored.follows != last and self.count:
                raise DamagedLog("a record is missing")
            if stored.follows != last and after:
                raise NeedsFullLog  # the log was deleted and begun anew
            last = stored.sequence
            self.count += 1
            record = stored.record
            if record.kind == DATA:
                self._file(record.file).apply(record)
            else:
                for file in self.files.values():
                    file.drop_unfinished()
        for file in self.files.values():
            file.drop_unfinished()

    def sidecars(self) -> dict[str, SnapshotFile]:
        """The sidecars that the records have changed."""
        return {name: file for name, file in self.files.items() if name != TRANSCRIPT}

    def originals(self) -> dict[str, SnapshotFile]:
        """The longer transcripts that claude replaced by shorter ones, by name."""
        return {name: file for name, file in self.files.items() if shortening.is_original(name)}

    def _file(self, name: str) -> SnapshotFile:
        if name not in self.files:
            self.files[name] = self._new_file(name)
        return self.files[name]

    def _new_file(self, name: str) -> SnapshotFile:
        return SnapshotFile(self._bases.get(name, 0), self._is_whole)

    def close(self) -> None:
        """Free the temporary files."""
        for file in self.files.values():
            file.close()


def compare(
    path: str, file: SnapshotFile, originals: Mapping[str, SnapshotFile] | None = None
) -> tuple[Verdict, int, int]:
    """Compare a local transcript with the log's.

    Where claude replaced one of them by a shorter one, the shorter one wins: the longer one is
    among the sidecars of its side alone. `originals` are those of the log.

    Returns the verdict, the offset up to which both are the same, and the offset behind the log's
    last whole line. Raises OSError.
    """
    end = file.end_of_lines()
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return (Verdict.LOG_IS_AHEAD if end else Verdict.SAME), 0, end
    try:
        ours = last_line_end(handle, file.base, os.fstat(handle).st_size)
        same = _first_difference(handle, file, min(ours, end))
        if same == end:
            verdict = Verdict.SAME if ours == end else Verdict.WE_ARE_AHEAD
            return verdict, same, end
        if same == ours:
            return Verdict.LOG_IS_AHEAD, same, end
        same = last_line_end(handle, file.base, same)
        theirs = _messages(file.lines(same, end))
        our_own = _messages(_lines(handle, same, ours))
    finally:
        os.close(handle)
    replaced_here, replaced_there = shortening.originals(path), originals or {}
    for name in replaced_here.keys() - replaced_there.keys():
        if theirs.keys() <= _messages_of(replaced_here[name]).keys():
            return Verdict.WE_WIN, same, end
    for name in replaced_there.keys() - replaced_here.keys():
        longer = replaced_there[name]
        if our_own.keys() <= _messages(longer.lines(longer.base, longer.end)).keys():
            return Verdict.LOG_WINS, same, end
    if our_own.keys() <= theirs.keys():
        return Verdict.LOG_WINS, same, end
    if {name for name, is_prompt in theirs.items() if is_prompt} <= our_own.keys():
        # Claude itself retracts answers that it began, and never a prompt.
        return Verdict.WE_WIN, same, end
    return Verdict.DIVERGED, same, end


def has_messages(file: SnapshotFile, start: int, end: int) -> bool:
    """Whether the log's file has a message between two offsets."""
    return bool(_messages(file.lines(start, end)))


def apply_to(path: str, file: SnapshotFile, start: int, end: int) -> None:
    """Write the log's content between two offsets into a local file, which ends there then.

    The file keeps its inode and all its hard links. Raises OSError.
    """
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _OWN)
    try:
        at = start
        while at < end:
            body = file.read(at, min(_CHUNK, end - at))
            os.pwrite(handle, body, at)
            at += len(body)
        os.ftruncate(handle, end)
    finally:
        os.close(handle)


def apply_to_sidecar(directory: str, name: str, file: SnapshotFile) -> None:
    """Apply the log's content to a sidecar, unless the local file is longer.

    Nothing is written through a symbolic link. Raises OSError.
    """
    path = f"{directory}/{name}"
    parent = os.path.dirname(path)
    os.makedirs(parent, mode=0o700, exist_ok=True)
    if os.path.realpath(parent) != os.path.normpath(
        f"{os.path.realpath(directory)}/{os.path.dirname(name)}"
    ):
        raise OSError(f"{parent} is a link: nothing is written through it")
    same = _sidecar_difference(path, file)
    if same is not None:
        apply_to(path, file, same, file.end)


def _sidecar_difference(path: str, file: SnapshotFile) -> int | None:
    """The offset to write a sidecar from; None where it has all that the log has."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return 0
    try:
        size = os.fstat(handle).st_size
        same = _first_difference(handle, file, min(size, file.end))
    finally:
        os.close(handle)
    return None if same == file.end else same


def _first_difference(handle: int, file: SnapshotFile, end: int) -> int:
    at = file.base
    while at < end:
        length = min(_CHUNK, end - at)
        ours, theirs = os.pread(handle, length, at), file.read(at, length)
        if ours != theirs:
            pairs = zip(ours, theirs, strict=False)
            common = next(
                (n for n, (a, b) in enumerate(pairs) if a != b), min(len(ours), len(theirs))
            )
            return at + common
        at += length
    return end


def _messages(written: Iterator[bytes]) -> dict[str, bool]:
    """The messages among some lines, by `uuid`, each with whether it is a prompt.

    A command that ran in claude counts as one: an answer may follow it. A message without a `uuid`
    is known by its whole line.
    """
    found = {}
    for line in written:
        entry = lines.message(line)
        if entry is not None:
            what = lines.kind(entry)
            found[str(entry.get("uuid") or line)] = what in lines.BEGINNINGS or what == lines.LOCAL
    return found


def _messages_of(path: str) -> dict[str, bool]:
    with lines.open_regular(path) as file:
        return _messages(line.content for line in lines.forward(file))


def _lines(file: int, start: int, stop: int) -> Iterator[bytes]:
    with open(os.dup(file), "rb") as ours:
        for line in lines.forward(ours, start, stop):
            yield line.content
