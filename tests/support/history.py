"""A checker of what hosts of a fleet saw while servers failed: was it one log a conversation?

It checks of each conversation, given what each host asked for and was told, and the log at the end:

- nothing lost: each append that was acknowledged is in the log, at the sequence that was said;
- nothing doubled, and nothing that nobody has appended;
- in order: an append that was acknowledged before another one began stands before it. With the two
  above that is linearizability of an append-only log: the order of the log is one in which each
  append took effect between its beginning and its end, one without an answer at any time behind
  its beginning, or never;
- fenced: between the lease of one host and the next lease, the log has records of that host alone;
- read as it is: what a host that had taken the conversation read, up to its lease, is the log's
  beginning up to there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shim.fleet.records import CLAIM

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shim.fleet.backend import Stored
    from shim.fleet.records import Record

NEVER = float("inf")


@dataclass
class Append:
    """An append: when it began and was acknowledged, by one clock, and as which sequence."""

    record: Record
    began: float
    ended: float = NEVER
    sequence: int = 0


@dataclass
class History:
    """What happened to one conversation: appends, and what was read up to an own lease."""

    appends: list[Append] = field(default_factory=list)
    reads: list[list[Stored]] = field(default_factory=list)

    def violations(self, log: Sequence[Stored]) -> list[str]:
        """What is wrong with it, in sentences; `log` is what is there at the end."""
        return [
            *self._lost(log),
            *self._strange(log),
            *self._out_of_order(log),
            *_unfenced(log),
            *self._misread(log),
        ]

    def _lost(self, log: Sequence[Stored]) -> Iterator[str]:
        at = {each.sequence: each.record.nonce for each in log}
        for each in self.appends:
            if each.ended != NEVER and at.get(each.sequence) != each.record.nonce:
                yield f"{each.record.nonce} was acknowledged as {each.sequence}, and is lost"

    def _strange(self, log: Sequence[Stored]) -> Iterator[str]:
        known = {each.record.nonce for each in self.appends}
        seen: set[str] = set()
        for each in log:
            nonce = each.record.nonce
            if nonce in seen:
                yield f"{nonce} is there twice"
            if nonce not in known:
                yield f"{nonce} is there, and nobody has appended it"
            seen.add(nonce)

    def _out_of_order(self, log: Sequence[Stored]) -> Iterator[str]:
        by_nonce = {each.record.nonce: each for each in self.appends}
        earliest, before = NEVER, ""
        for stored in reversed(log):
            its = by_nonce.get(stored.record.nonce)
            if its is None:
                continue
            if earliest < its.began:
                yield f"{before} was acknowledged before {its.record.nonce} began, and is behind it"
            if its.ended < earliest:
                earliest, before = its.ended, its.record.nonce

    def _misread(self, log: Sequence[Stored]) -> Iterator[str]:
        whole = [(each.sequence, each.record.nonce) for each in log]
        for read in self.reads:
            found = [(each.sequence, each.record.nonce) for each in read]
            if found != whole[: len(found)]:
                yield f"what was read up to {found[-1]} is not how the log begins"


def _unfenced(log: Sequence[Stored]) -> Iterator[str]:
    holder, generation = "", 0
    for each in log:
        record = each.record
        if record.kind == CLAIM:
            if record.generation <= generation:
                yield f"claim {record.nonce} has generation {record.generation} once more"
            holder, generation = record.holder.host, record.generation
        elif (record.holder.host, record.generation) != (holder, generation):
            yield f"{record.nonce} is {record.holder.host}'s, and {holder} has the conversation"
