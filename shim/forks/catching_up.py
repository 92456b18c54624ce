"""A conversation catches up: it gets the turns that its head and its other forks had meanwhile.

This is what a call uses before it resumes a conversation that it has for itself: `catch_up`, or
`lacking` alone, which changes nothing.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from shim.forks import appending, fork_marker
from shim.forks.lacking import end_of, family_of, find

if TYPE_CHECKING:
    from shim.claude.chain import Turn
    from shim.forks.fork_marker import Marker, Place
    from shim.forks.lacking import Family, Lacking, Member


def lacking(store: str, session_id: str) -> list[Turn]:
    """The finished turns that a conversation lacks, in the order in which they ended.

    Changes nothing. Raises OSError.
    """
    family = family_of(store, session_id)
    target = family.member(session_id) if family else None
    return find(family, target).turns if family and target else []


def catch_up(store: str, session_id: str) -> list[Turn]:
    """Append the finished turns that a conversation lacks, and return them.

    Only for who has the conversation's lock, and while no claude lives on it. Raises OSError and
    Failure, and `appending.Broken` where the turns were cut off again; the conversation is as it
    was then.
    """
    family = family_of(store, session_id)
    target = family.member(session_id) if family else None
    if family is None or target is None:
        return []
    appending.undo(store, session_id)
    found = find(family, target)
    if found.turns:
        appending.append(store, target.path, found)
    _note(family, target, found)
    return found.turns


def _note(family: Family, target: Member, found: Lacking) -> None:
    """Note how much of each other the head and the forks have now."""
    for fork in family.forks if target.marker is None else [target]:
        other = fork if target.marker is None else family.head
        place = found.read.get(other.session_id)
        if place is not None and found.chain is not None and fork.marker is not None:
            is_only = all(turn.path == other.path for turn in found.turns)
            before = found.chain.end if is_only else -1
            change = _of_head if target.marker is None else _of_fork
            now = end_of(target.path)
            fork_marker.update(
                family.store, fork.session_id, partial(change, fork.marker, place, before, now)
            )


def _of_head(seen: Marker, place: Place, before: int, now: Place, marker: Marker) -> Marker:
    """The marker of a fork whose turns up to a place the head has now.

    Where the fork had all of the head as it was before, both have all of each other: unless the
    head got turns of another fork as well.
    """
    if seen.of != marker.of:
        return marker
    if seen.head_read.size == before:
        return replace(marker, head_known=now, head_read=now, fork_known=place, fork_read=place)
    return replace(marker, fork_read=place)


def _of_fork(seen: Marker, place: Place, before: int, now: Place, marker: Marker) -> Marker:
    """The marker of a fork that has the head's turns up to a place now."""
    if seen.of != marker.of:
        return marker
    if seen.fork_read.size == before:
        return replace(marker, head_known=place, head_read=place, fork_known=now, fork_read=now)
    return replace(marker, head_read=place)
