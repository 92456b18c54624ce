"""The newest messages that match a query, in any number of files."""

from __future__ import annotations

import contextlib
import heapq
import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.base import times
from shim.claude import lines, said, transcripts
from shim.claude.said import Said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shim.claude.lines import Line
    from shim.claude.text_search import Query, Span
    from shim.cli.room_transcripts import RoomConversation, RoomFile

# Bytes: up to the first files are read one by one, then so many at once; and files at most.
_SINGLE = 1 << 23
_BATCH = 1 << 27
_MOST = 2000
# Appended turns stand behind later ones, by no more seconds than that.
_OUT_OF_ORDER = times.DAY


@dataclass(frozen=True)
class Hit:
    """A message, or a title, that matches."""

    conversation: RoomConversation
    path: str | None
    """The file that has it; None for a title that OpenCode gave."""
    when: float
    """When it was written, in seconds of the system's clock."""
    said: Said
    spans: list[Span]
    """Where the words are in its text."""
    uuid: str | None


@dataclass(frozen=True)
class Scope:
    """Which messages are looked at."""

    since: float = -math.inf
    until: float = math.inf
    with_tools: bool = False

    def has(self, when: float) -> bool:
        """Whether a message of that time is looked at."""
        return self.since <= when <= self.until


class Found:
    """The newest hits so far, each message once however many files have it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._hits: dict[object, Hit] = {}
        # The oldest first; numbered, as hits have no order.
        self._by_age: list[tuple[float, int, object]] = []
        self._order = 0
        self.is_cut = False
        """Whether there may be older ones."""

    @property
    def hits(self) -> list[Hit]:
        """The hits, the newest first."""
        return [self._hits[known_by] for _, _, known_by in sorted(self._by_age, reverse=True)]

    @property
    def oldest(self) -> float:
        """What is not newer than that is not among them."""
        return self._by_age[0][0] if len(self._by_age) == self._limit else -math.inf

    def add(self, known_by: object, hit: Hit) -> None:
        """Add a hit, unless it is older than all that are wanted.

        Of a message that several conversations have, the head's counts, else a fork's.
        """
        there = self._hits.get(known_by)
        if there is not None:
            if hit.conversation.rank < there.conversation.rank:
                self._hits[known_by] = hit
            return
        # Of one time, those that were found first: they are nearer to the end of a file.
        self._order -= 1
        item = (hit.when, self._order, known_by)
        if hit.when <= self.oldest:
            self.is_cut = True
            return
        if len(self._by_age) == self._limit:
            self.is_cut = True
            del self._hits[heapq.heappushpop(self._by_age, item)[2]]
        else:
            heapq.heappush(self._by_age, item)
        self._hits[known_by] = hit


def search(
    files: Iterable[RoomFile],
    query: Query,
    scope: Scope,
    found: Found,
    advance: Callable[[int], None] = lambda _: None,
) -> list[str]:
    """Add what matches in these files; return what could not be read.

    No file is read that was last written before the oldest hit that is wanted.
    """
    unread = []
    for batch in _batches(sorted(files, key=lambda each: each.written, reverse=True)):
        if batch[0].written <= found.oldest:
            found.is_cut = True
        if batch[0].written <= max(found.oldest, scope.since):
            break
        paths = [file.path for file in batch]
        may_match = query.sift(paths) if len(batch) > 1 else paths
        for file in batch:
            if file.written <= max(found.oldest, scope.since):
                found.is_cut |= file.written <= found.oldest
                break
            if file.is_compressed or file.path in may_match:
                try:
                    for known_by, hit in _in_file(file, query, scope, found):
                        found.add(known_by, hit)
                except OSError as problem:
                    unread.append(f"{file.path} ({problem.strerror or problem})")
            if scope.with_tools:
                for path, hit in _in_long_results(file, query, scope):
                    found.add(path, hit)
            advance(file.size)
    return unread


def _batches(files: Iterable[RoomFile]) -> Iterator[list[RoomFile]]:
    """Files in the same order, a few at a time: first single ones, which may be enough."""
    batch: list[RoomFile] = []
    size = 0
    total = 0
    for file in files:
        is_single = total < _SINGLE
        batch.append(file)
        size += file.size
        total += file.size
        if is_single or size > _BATCH or len(batch) == _MOST:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _in_file(
    file: RoomFile, query: Query, scope: Scope, found: Found
) -> Iterator[tuple[object, Hit]]:
    with file.open() as opened:
        for line in query.lines(opened):
            when = said.when(line.entry)
            at = file.written if when is None else when
            if at < max(scope.since, found.oldest) - _OUT_OF_ORDER:
                found.is_cut |= at >= scope.since
                return
            if scope.has(at):
                yield from _in_line(file, line, at, query, scope.with_tools)


def _in_long_results(file: RoomFile, query: Query, scope: Scope) -> Iterator[tuple[str, Hit]]:
    """The matches in results that claude keeps beside the transcript, since they are long.

    Those that cannot be read are passed over: the transcript has their beginning.
    """
    folder = f"{transcripts.sidecars_of(file.path)}/{transcripts.TOOL_RESULTS}"
    with contextlib.suppress(OSError), os.scandir(folder) as results:
        for each in results:
            with contextlib.suppress(OSError), lines.open_regular(each.path) as opened:
                at = os.fstat(opened.fileno()).st_mtime
                text = opened.read().decode(errors="replace") if scope.has(at) else ""
                if text and (spans := query.spans(text)):
                    result = Said(said.RESULT, text)
                    yield each.path, Hit(file.conversation, each.path, at, result, spans, None)


def _in_line(
    file: RoomFile, line: Line, at: float, query: Query, with_tools: bool
) -> Iterator[tuple[object, Hit]]:
    entry = line.entry
    uuid = entry.get("uuid")
    uuid = uuid if isinstance(uuid, str) else None
    all_said = said.by(entry) + (said.by_tools(entry) if with_tools else [])
    for number, each in enumerate(all_said):
        spans = query.spans(each.text)
        if spans:
            # Claude writes a title again as the conversation grows.
            is_title = each.who == said.TITLE
            place = (
                (file.conversation.session_id, each.text) if is_title else (file.path, line.start)
            )
            known_by = (uuid or place, number)
            yield known_by, Hit(file.conversation, file.path, at, each, spans, uuid)
