"""The forks of a room's conversation, and what of them the head does not have yet."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.base.session_key import is_session_id
from shim.claude import summary
from shim.forks import catching_up

if TYPE_CHECKING:
    from shim.claude.summary import Summary


@dataclass(frozen=True)
class RoomFork:
    """A fork of a room's conversation."""

    session_id: str
    path: str
    seen: Summary
    lacking: int
    """Turns of it that the head lacks: the next call that has the head appends them."""


def forks_of(store: str, head: str) -> list[RoomFork]:
    """The forks of a conversation, the newest first. Raises OSError."""
    found = catching_up.compare(store, head) if is_session_id(head) else None
    if found is None:
        return []
    family, lacking = found
    counts = Counter(turn.path for turn in lacking.turns)
    return [
        RoomFork(each.session_id, each.path, summary.read(each.path), counts[each.path])
        for each in family.forks
    ]
