"""A conversation catches up: it gets the turns that its head and its other forks had meanwhile.

This is what a call uses before it resumes a conversation that it has for itself: `catch_up`, or
`lacking` alone, which changes nothing.
"""

from __future__ import annotations

import os

from shim.claude import lines, notice
from shim.forks import appending, fork_marker
from shim.forks.lacking import end_of, family_of, find, is_empty, path_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.claude.chain import Turn
    from shim.forks.fork_marker import Marker, Place
    from shim.forks.lacking import Family, Lacking, Member


def compare(store: str, session_id: str) -> tuple[Family, Lacking] | None:
    """A conversation's head and forks, and what it lacks of them; None where it has no others.

    Changes nothing. Raises OSError.
    """
    family = family_of(store, session_id)
    target = family.member(session_id) if family else None
    if family is None or target is None or is_empty(target):
        return None
    return family, find(family, target)


def lacking(store: str, session_id: str) -> list[Turn]:
    """The finished turns that a conversation lacks, in the order in which they ended.

    Changes nothing. Raises OSError.
    """
    found = compare(store, session_id)
    return found[1].turns if found else []


def catch_up(store: str, session_id: str) -> list[Turn]:
    """Append the finished turns that a conversation lacks, and return them.

    Only for who has the conversation's lock, and while no claude lives on it. Raises OSError and
    Failure, and `appending.Broken` where the turns were cut off again; the conversation is as it
    was then.
    """
    family = family_of(store, session_id)
    target = family.member(session_id) if family else None
    if family is None or target is None or is_empty(target):
        return []
    appending.undo(store, session_id)
    found = find(family, target)
    if found.turns:
        appending.append(store, target.path, found)
    _note(family, target, found)
    return found.turns


def is_known(store: str, marker: Marker) -> bool:
    """Whether a fork's head has all turns of it. Raises OSError."""
    path = path_of(store, marker)
    if path is None:
        return True
    with lines.open_regular(path) as file:
        place = marker.fork_read
        return os.fstat(file.fileno()).st_size == place.size and place.holds(file)


def _note(family: Family, target: Member, found: Lacking) -> None:
    """Note how much of each other the head and the forks have now."""
    for fork in family.forks if target.marker is None else [target]:
        other = fork if target.marker is None else family.head
        place = found.read.get(other.session_id)
        seen = fork.marker
        if place is None or found.chain is None or seen is None:
            continue
        had = seen.head_read if target.marker is None else seen.fork_read
        # Where the other had all of this one, too, each has all of the other from now on: unless
        # this one got turns of a third as well.
        is_mutual = (
            had.size == found.chain.end
            and all(turn.path == other.path for turn in found.turns)
            and not _were_told(family, fork)
        )
        head, own = end_of(target.path), place
        if target.marker is not None:
            head, own = own, head
        news = _news(seen.of, head, own, target.marker is None, is_mutual)
        fork_marker.update(family.store, fork.session_id, news)


def _news(
    of: str, head: Place, fork: Place, is_of_head: bool, is_mutual: bool
) -> Callable[[Marker], None]:
    """What changes of a fork's marker, unless the fork has come to another head meanwhile."""

    def change(marker: Marker) -> None:
        if marker.of != of:
            return
        if is_of_head or is_mutual:
            marker.fork_read = fork
        if not is_of_head or is_mutual:
            marker.head_read = head
        if is_mutual:
            marker.head_known, marker.fork_known = head, fork

    return change


def _were_told(family: Family, fork: Member) -> bool:
    """Whether one of the two was notified of turns, so that its notices have to be read again."""
    marker = fork.marker
    return marker is not None and (
        _has_notice(family.head.path, marker.head_known.size)
        or _has_notice(fork.path, marker.fork_known.size)
    )


def _has_notice(path: str, start: int) -> bool:
    sought = notice.TAG.encode()
    with lines.open_regular(path) as file:
        return any(sought in line.content for line in lines.forward(file, start))
