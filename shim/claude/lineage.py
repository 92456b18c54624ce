"""What two files of one session id have in common: whether they are one conversation."""

from __future__ import annotations

from dataclasses import dataclass

from shim.claude import lines
from shim.claude.lines import Line

_MARKS = (b'"uuid"', b'"type":"user"', b'"type":"assistant"')


@dataclass(frozen=True)
class Lineage:
    """The lines of a conversation that a transcript has, by claude's names for them."""

    own: frozenset[str]
    before: frozenset[str]
    """The names of the lines that these go on from."""

    def has_all_of(self, other: Lineage) -> bool:
        """Whether the other one says nothing that this one does not."""
        return other.own <= self.own

    def are_one_with(self, other: Lineage) -> bool:
        """Whether both are of one conversation: they share a line, or one goes on from the other.

        A live claude whose transcript was cleaned up writes its next turn into a new one.
        """
        return bool(self.own & other.own or self.before & other.own or other.before & self.own)


def read(path: str) -> Lineage:
    """What a transcript has. Raises OSError."""
    with lines.open_regular(path) as file:
        named = [found for line in lines.forward(file) if (found := name_of(line.content))]
    return Lineage(frozenset(own for own, _ in named), frozenset(b for _, b in named if b))


def name_of(line: bytes) -> tuple[str, str | None] | None:
    """The name of a line and of the one before it; None where it is no part of what was said.

    A line that claude gave no name is its own.
    """
    if not any(mark in line for mark in _MARKS):
        return None
    entry = Line(0, line).entry
    own, before = entry.get("uuid"), entry.get("parentUuid")
    if not isinstance(own, str):
        own = str(entry) if entry.get("type") in ("user", "assistant") else None
    return (own, before if isinstance(before, str) else None) if own else None
