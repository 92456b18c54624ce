"""Whose forks are whose: which one a call may resume, and what `/clear` and `link` make of them."""

from __future__ import annotations

import os

from shim.base import files, times
from shim.base.session_key import is_session_id
from shim.claude import lines
from shim.claude.chain import Chain, end_of
from shim.forks import fork_marker
from shim.forks.fork_marker import Marker, Place
from shim.forks.lacking import family_of, transcript_of
from shim.store import markers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator


def resumable(store: str, head: str) -> Iterator[tuple[str, str]]:
    """The forks of a conversation that a call may resume, the newest first, each with its path.

    Not one whose head was compacted since: with it, the whole history would come back. Whether a
    fork is free only its lock tells, and claude's registry. Raises OSError.
    """
    family = family_of(store, head)
    if family is None:
        return
    for fork in family.forks:
        with lines.open_regular(family.head.path) as file:
            known = fork.marker.head_known if fork.marker else Place()
            start = known.size if known.holds(file) else 0
            if not Chain(file, family.head.path, start).has_compaction:
                yield fork.session_id, fork.path


def all_below(store: str, session_ids: Collection[str], but: Collection[str]) -> list[Marker]:
    """The markers of all forks of these conversations, and of those forks; also of what is over.

    Conversations that are among `but` are passed over, with their forks.
    """
    by_parent: dict[str, list[Marker]] = {}
    try:
        names = os.listdir(f"{store}/{markers.FORKS}")
    except (FileNotFoundError, NotADirectoryError):
        return []
    for name in names:
        marker = fork_marker.of_fork(store, name)
        if marker is not None and is_session_id(name):
            by_parent.setdefault(marker.of, []).append(marker)
    found: dict[str, Marker] = {}
    queue = [each for each in session_ids if each not in but]
    while queue:
        for marker in by_parent.get(queue.pop(), ()):
            if marker.fork not in (*found, *session_ids, *but):
                found[marker.fork] = marker
                queue.append(marker.fork)
    return list(found.values())


def note_anew(store: str, fork: str) -> None:
    """Note that a fork that was over is resumed: for who has its lock. Raises OSError, Failure."""
    marker = fork_marker.of_fork(store, fork)
    if marker is not None and marker.is_over:
        fork_marker.update(store, fork, _revive)


def hand_on(store: str, fork: str, head: str, path: str | None) -> None:
    """Make a fork one of another head from now on, as its claude or the head's moves.

    `path` is the transcript of that head, if there is one yet. Turns that end later go both ways,
    earlier ones never. Raises OSError, Failure.
    """
    own = transcript_of(store, fork)
    theirs, ours = _settled(path), _settled(own)

    def change(marker: Marker) -> None:
        marker.of, marker.since = head, times.now()
        marker.head_known = marker.head_read = theirs
        marker.fork_known = marker.fork_read = ours

    if fork_marker.of_fork(store, fork) is None:
        fork_marker.begin(store, Marker(fork, head, path=own or ""))
    fork_marker.update(store, fork, change)


def move_head(
    store: str, head: str, new: str, is_copy: bool, is_live: Callable[[str], bool]
) -> None:
    """Have the forks of a head follow, as the head moves to another conversation on purpose.

    A fork of it that becomes the head has the old one as a fork. Where the new one is a copy of
    the old one (`is_copy`), all forks are its forks. Else those are that a claude lives on, as
    `is_live` says of their ids, from this moment on. Raises OSError, Failure.
    """
    marker = fork_marker.of_fork(store, new)
    if marker is not None and marker.of == head and not marker.is_over:
        make_head(store, new)
        return
    fork_marker.drop(store, new)
    path = transcript_of(store, new)
    for each in fork_marker.all_of(store, head):
        if is_copy:
            fork_marker.update(store, each.fork, _moved_to(new))
        elif is_live(each.fork):
            hand_on(store, each.fork, new, path)


def make_head(store: str, fork: str) -> None:
    """Make a fork the head, and its head and the other forks forks of it.

    The other forks are compared whole with it by the next call. Raises OSError, Failure.
    """
    marker = fork_marker.of_fork(store, fork)
    if marker is None:
        return
    others = [each for each in fork_marker.all_of(store, marker.of) if each.fork != fork]
    fork_marker.drop(store, fork)
    former = Marker(marker.of, fork)
    former.head_known, former.fork_known = marker.fork_known, marker.head_known
    former.head_read, former.fork_read = marker.fork_read, marker.head_read
    fork_marker.begin(store, former)
    for each in others:
        fork_marker.update(store, each.fork, _moved_to(fork))


def take_over(store: str, heads: Collection[str]) -> None:
    """Note anew the forks of version 0.2.0 that have to do with a head of today.

    Where a fork had become the head, what it is of is a fork of it from now on; where nothing was
    said in it yet, it is a copy of what was left for it. They are compared whole with their head by
    the next call. Raises OSError, Failure.
    """
    files.make_directory(f"{store}/{markers.FORKED}")  # what is left undone is undone for good
    try:
        names = os.listdir(f"{store}/{markers.FORKS}")
    except FileNotFoundError:
        return
    found = {name: markers.read(store, markers.FORKS, name) for name in names}
    parents = {name: parent for name, parent in found.items() if is_session_id(parent)}
    empty = [head for head in heads if head in parents and transcript_of(store, head) is None]
    left = {parents[head] for head in empty}
    for each in {*parents, *parents.values()} - set(heads) - left:
        line = [each, *_ancestors(parents, each)]
        nearest = (
            head for other in line for head in heads if other in [head, *_ancestors(parents, head)]
        )
        head = next(nearest, None)
        if head is not None:
            fork_marker.begin(store, Marker(each, head))
    for head in heads:
        if head in parents:
            fork_marker.drop(store, head)
        if head in empty:
            markers.note_left(store, head, parents[head])


def _ancestors(parents: dict[str, str], fork: str) -> list[str]:
    found: list[str] = []
    at = parents.get(fork)
    while at is not None and at not in found:
        found.append(at)
        at = parents.get(at)
    return found


def _moved_to(head: str) -> Callable[[Marker], None]:
    """What changes of a fork that is to be compared whole with another head."""

    def change(marker: Marker) -> None:
        marker.of = head
        marker.compare_whole()

    return change


def _revive(marker: Marker) -> None:
    marker.is_over = False


def _settled(path: str | None) -> Place:
    if path is None:
        return Place()
    with lines.open_regular(path) as file:
        return Place.at(file, end_of(file, path).settled_end())
