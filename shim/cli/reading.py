"""A conversation as one reads it: its messages in order, with those that its forks still have."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from shim.claude import lines, said, transcripts
from shim.claude.chain import Chain
from shim.forks import lacking

if TYPE_CHECKING:
    from typing import BinaryIO

    from shim.claude.chain import Row
    from shim.claude.lines import Entry
    from shim.claude.said import Said
    from shim.cli.room_transcripts import RoomFile

# Bytes of a transcript's end that are read first.
_TAIL = 1 << 18


@dataclass(frozen=True)
class Utterance:
    """Something that was said, or happened, in a conversation."""

    said: Said
    when: float | None
    """In seconds of the system's clock."""
    uuid: str
    session_id: str
    """The conversation in which it was said first."""
    is_apart: bool
    """Whether only a fork has it so far."""


class Extent(NamedTuple):
    """How much of a conversation is read."""

    last: int | None = None
    """The last turns, so many."""
    since: float | None = None
    """The turns that lasted until then or longer, in seconds of the system's clock."""

    def of(self, passages: list[list[Row]]) -> list[list[Row]]:
        """What is read of these turns."""
        since = -math.inf if self.since is None else self.since
        found = [rows for rows in passages if _ended(rows) >= since]
        return found if self.last is None else found[-self.last :]

    def is_covered_by(self, passages: list[list[Row]]) -> bool:
        """Whether no turn before these is read."""
        if self.last is not None and len(passages) >= self.last:
            return True
        return self.since is not None and any(_ended(rows) < self.since for rows in passages)


def messages(file: RoomFile, store: str, extent: Extent, with_tools: bool) -> list[Utterance]:
    """The messages of a conversation, oldest first; of tools as `said.in_full` has them.

    Of a head, the turns that its forks have and it lacks come last. Raises OSError.
    """
    session_id = file.conversation.session_id
    with file.open() as opened:
        passages = _passages(opened, file.path, extent)
    known = {row.uuid for rows in passages for row in rows}
    # A copy from the fleet may have more than the file here.
    apart = [(fork, rows) for fork, rows in _apart(store, session_id) if rows[-1].uuid not in known]
    wanted = extent.of([*passages, *(rows for _, rows in apart)])
    fork_of = {id(rows): fork for fork, rows in apart}
    found = []
    for rows in wanted:
        fork = fork_of.get(id(rows))
        for row in rows:
            found += in_entry(row.entry, fork or session_id, fork is not None, with_tools)
    return found


def in_entry(entry: Entry, session_id: str, is_apart: bool, with_tools: bool) -> list[Utterance]:
    """The messages of an entry that stands in the transcript of a conversation."""
    first = entry.get(lines.FIRST_SAID_IN)
    first = first if isinstance(first, str) else session_id
    when, uuid = said.when(entry), str(entry.get("uuid") or "")
    return [
        Utterance(each, when, uuid, first, is_apart) for each in said.in_full(entry, with_tools)
    ]


def _passages(file: BinaryIO, path: str, extent: Extent) -> list[list[Row]]:
    """The turns of a file's current chain, at least those that are read."""
    size = os.fstat(file.fileno()).st_size
    length = _TAIL if extent != Extent() else size
    while True:
        start = lines.start_of_line(file, max(0, size - length))
        passages = Chain(file, path, start).passages()
        if start == 0 or extent.is_covered_by(passages):
            return passages
        length *= 4


def _apart(store: str, session_id: str) -> list[tuple[str, list[Row]]]:
    """The turns that a head lacks and a fork has, with the fork."""
    family = lacking.family_of(store, session_id)
    if family is None or family.head.session_id != session_id:
        return []
    turns = lacking.find(family, family.head).turns
    return [(transcripts.session_id_of(turn.path), turn.rows) for turn in turns]


def _ended(rows: list[Row]) -> float:
    """When the last of these rows was written; the beginning of time where none says."""
    return max((when for row in rows if (when := said.when(row.entry))), default=-math.inf)
