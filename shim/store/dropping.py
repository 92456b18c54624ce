"""Dropping mappings from a store of any size without keeping those waiting who use it meanwhile."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shim.base.files import content
from shim.store import document, locked_file, rewrite

if TYPE_CHECKING:
    from shim.store.document import Document

# What changes in place while the mappings stay the same. In a name, the quotes are escaped.
_STAMP = re.compile(rb'("last_used": "[^"]*")')


class Dropping:
    """The document without the doomed mappings, for when its text is still the same.

    It is made before the lock is taken, and takes over the times of use noted meanwhile.
    """

    def __init__(self, before: bytes, doomed: Document) -> None:
        self._doomed = doomed
        self._before = _STAMP.split(before)
        self._after: list[bytes] = []
        self._kept: list[int] = []
        self._dropped: list[int] = []
        try:
            mappings = document.parse(before)
        except document.InvalidDocument:
            return
        if document.dump(mappings) == before:
            self._prepare(mappings)

    def commit(self, path: str, file: int) -> int:
        """Change the open, locked file; return how many mappings were dropped. Raises OSError."""
        now = _STAMP.split(content(file))
        if not self._after or now[::2] != self._before[::2] or self._were_used(now):
            return self._make_by_parsing(path, file)
        stamps = now[1::2]
        self._after[1::2] = [stamps[at] for at in self._kept]
        locked_file.commit(path, file, b"".join(self._after))
        return len(self._dropped)

    def _prepare(self, mappings: Document) -> None:
        at = 0
        for room, entries in mappings.items():
            for agent, entry in entries.items():
                is_doomed = _is_doomed(self._doomed, room, agent, entry)
                (self._dropped if is_doomed else self._kept).append(at)
                at += 1
        after = _STAMP.split(document.dump(_without(mappings, self._doomed)))
        # Entries may have fields of others, of that name too: then stamps and entries don't match.
        if len(self._before) == 2 * at + 1 and len(after) == 2 * len(self._kept) + 1:
            self._after = after

    def _were_used(self, now: list[bytes]) -> bool:
        return any(now[2 * at + 1] != self._before[2 * at + 1] for at in self._dropped)

    def _make_by_parsing(self, path: str, file: int) -> int:
        mappings = rewrite.load(path, file)
        left = _without(mappings, self._doomed)
        dropped = _count(mappings) - _count(left)
        if dropped:
            locked_file.commit(path, file, document.dump(left))
        return dropped


def _without(mappings: Document, doomed: Document) -> Document:
    left: Document = {}
    for room, entries in mappings.items():
        for agent, entry in entries.items():
            if not _is_doomed(doomed, room, agent, entry):
                left.setdefault(room, {})[agent] = entry
    return left


def _is_doomed(doomed: Document, room: str, agent: str, entry: dict[str, object]) -> bool:
    return doomed.get(room, {}).get(agent) == entry


def _count(mappings: Document) -> int:
    return sum(map(len, mappings.values()))
