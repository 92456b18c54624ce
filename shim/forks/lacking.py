"""Which finished turns a conversation lacks that its head, or another fork of its head, has.

All conversations of a room are the head and its forks. For the head and each fork a marker has the
place in both files up to where they have all of each other, so that only what lies behind is
compared, row by row, by `uuid`: whatever claude, a kill or an earlier append left there.

A turn of a fork that lies before its place is in the head before the head's. So a fork has a turn
of another fork if it is in its own file behind its place, or in the head before the head's.
"""

from __future__ import annotations

import contextlib
import os

from shim.claude import lines, transcripts
from shim.claude.chain import Chain
from shim.forks import fork_marker
from shim.forks.fork_marker import Place
from shim.retention import config_directories

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from typing import BinaryIO

    from shim.claude.chain import Turn
    from shim.forks.fork_marker import Marker


class Member:
    """A conversation of a room that has a transcript; `marker` is None of the head."""

    __slots__ = ("marker", "path", "session_id")

    def __init__(self, session_id: str, path: str, marker: Marker | None = None) -> None:
        self.session_id = session_id
        self.path = path
        self.marker = marker


class Family:
    """A head and its forks that have a transcript, the newest fork first.

    Of a head in which nothing was said yet, an empty file stands for the transcript.
    """

    __slots__ = ("forks", "head", "store")

    def __init__(self, store: str, head: Member, forks: list[Member]) -> None:
        self.store = store
        self.head = head
        self.forks = forks

    def member(self, session_id: str) -> Member | None:
        """The member of a session id."""
        return next((it for it in (self.head, *self.forks) if it.session_id == session_id), None)


class Lacking:
    """What a conversation lacks, and what was read to find out.

    `turns` are in the order in which they ended. `chain` is the end of the conversation's own file,
    None where nothing had to be compared. `read` says by session id up to where the others have
    nothing that is neither here nor told.
    """

    __slots__ = ("chain", "read", "turns")

    def __init__(
        self,
        turns: Sequence[Turn] = (),
        chain: Chain | None = None,
        read: dict[str, Place] | None = None,
    ) -> None:
        self.turns = list(turns)
        self.chain = chain
        self.read = read or {}

    @property
    def here(self) -> Container[str]:
        """The ids of the rows at the end of the conversation's own file."""
        return self.chain.rows if self.chain else ()


def family_of(store: str, session_id: str) -> Family | None:
    """The head and the forks of a conversation, be it either; None where it has no forks.

    Raises OSError.
    """
    marker = fork_marker.of_fork(store, session_id)
    head = marker.of if marker else session_id
    found = transcript_of(store, head)
    forks = {each.fork: each for each in fork_marker.all_of(store, head)}
    members = [
        Member(fork, path, each) for fork, each in forks.items() if (path := path_of(store, each))
    ]
    if not members:
        return None
    path = found or fork_marker.index_of(store, forks[members[0].session_id])
    return Family(store, Member(head, path), members)


def path_of(store: str, marker: Marker) -> str | None:
    """Where the transcript of a fork is; None where it has none. Raises OSError."""
    if marker.path and os.path.isfile(marker.path):
        return marker.path
    return transcript_of(store, marker.fork)


def transcript_of(store: str, session_id: str) -> str | None:
    """Where a conversation's transcript is, under this config directory or another one.

    None where it has none. Raises OSError.
    """
    found = transcripts.find(session_id)[0] or config_directories.elsewhere(store, session_id)
    return transcripts.without_link(found.path) if found else None


def is_empty(member: Member) -> bool:
    """Whether a conversation has no transcript yet. Raises OSError."""
    return not member.path.endswith(transcripts.ENDING)


def end_of(path: str) -> Place:
    """The end of a transcript. Raises OSError."""
    with lines.open_regular(path) as file:
        return Place.at_end(file)


def find(family: Family, target: Member) -> Lacking:
    """Which finished turns of the others a conversation lacks. Raises OSError.

    Costs one look at each file where none of the others has grown.
    """
    with contextlib.ExitStack() as stack:
        opened = {
            each.session_id: stack.enter_context(lines.open_regular(each.path))
            for each in (family.head, *family.forks)
        }
        if target.marker is None:
            return _find_for_head(family, opened)
        return _find_for_fork(family, target, target.marker, opened)


def _find_for_head(family: Family, files: dict[str, BinaryIO]) -> Lacking:
    head = files[family.head.session_id]
    starts = []
    found = []
    for fork, marker in _marked(family.forks):
        file = files[fork.session_id]
        if _is_at_end(marker.fork_read, file):
            continue
        start = _first_held(file, marker.fork_read, marker.fork_known)
        knows = marker.head_known if start else Place()
        starts.append(knows.size if knows.holds(head) else 0)
        found.append(Chain(file, fork.path, start))
    if not found:
        return Lacking()
    own = Chain(head, family.head.path, min(starts))
    return _compared(own, set(own.rows), found, files)


def _find_for_fork(
    family: Family, target: Member, marker: Marker, files: dict[str, BinaryIO]
) -> Lacking:
    file, head = files[target.session_id], files[family.head.session_id]
    others = [each for each in family.forks if each.session_id != target.session_id]
    found = []
    is_whole = False
    if os.fstat(head.fileno()).st_size and not _is_at_end(marker.head_read, head):
        start = _first_held(head, marker.head_read, marker.head_known)
        is_whole = start == 0
        found.append(Chain(head, family.head.path, start))
    shared = marker.head_known if marker.head_known.holds(head) else Place()
    before = shared.size
    for fork, theirs in _marked(others):
        start = _first_held(files[fork.session_id], theirs.fork_known)
        chain = Chain(files[fork.session_id], fork.path, start)
        if chain.rows:
            found.append(chain)
            before = min(before, theirs.head_known.size if start else 0)
    if not found:
        return Lacking()
    start = 0 if is_whole else _first_held(file, marker.fork_known)
    own = Chain(file, target.path, start)
    known = set(own.rows)
    if before < shared.size:
        known |= Chain(head, family.head.path, before, shared.size).rows.keys()
    return _compared(own, known, found, files)


def _compared(
    own: Chain, known: set[str], others: list[Chain], files: dict[str, BinaryIO]
) -> Lacking:
    told = own.notified()
    found: dict[str, Turn] = {}
    order: dict[str, str] = {}
    for chain in others:
        last = ""
        for turn in chain.turns():
            # Turns of one conversation stay in their order; a copy may stand behind later ones.
            last = max(last, turn.ended)
            order[turn.id] = min(last, order.get(turn.id, last))
            if turn.id not in told and turn.id not in found and _is_missing(turn, known, own):
                found[turn.id] = turn
    read = {}
    for chain in others:
        # What was only told is lacked again after a rewind.
        starts = [
            turn.rows[0].line.start
            for turn in chain.turns()
            if turn.id in told and turn.id not in known
        ]
        name = transcripts.session_id_of(chain.path)
        read[name] = Place.at(files[name], min([chain.settled_end(), *starts]))
    turns = sorted(found.values(), key=lambda turn: order[turn.id])
    # What is here in part was begun first.
    turns.sort(key=lambda turn: not any(row.uuid in known for row in turn.rows))
    return Lacking(turns, own, read)


def _is_missing(turn: Turn, known: set[str], own: Chain) -> bool:
    """Whether a turn is not here, or in part at the very end of the chain."""
    here = {each for row in turn.rows for each in row.ids if each in known}
    if all(row.uuid in here for row in turn.rows):
        return False
    return not here or own.leaf in here


def _marked(members: list[Member]) -> Iterator[tuple[Member, Marker]]:
    return ((each, each.marker) for each in members if each.marker)


def _is_at_end(place: Place, file: BinaryIO) -> bool:
    return place.size > 0 and os.fstat(file.fileno()).st_size == place.size and place.holds(file)


def _first_held(file: BinaryIO, *places: Place) -> int:
    """The first of these places up to which a file is still what it was; 0 without any."""
    return next((place.size for place in places if place.holds(file)), 0)
