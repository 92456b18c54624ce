"""Every file that has something of a room: of its conversation, its forks and earlier ones."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.claude import lines, projects
from shim.forks import fork_marker
from shim.retention import config_directories, hard_links, pins, restoring
from shim.store import history, markers

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import BinaryIO, Final

    from shim.cli import mapped

HEAD: Final = "head"
"""The room's conversation."""
FORK: Final = "fork"
"""A fork of it."""
EARLIER: Final = "earlier"
"""One that the room had before, or a fork of that."""

_ORDER = (HEAD, FORK, EARLIER)


@dataclass(frozen=True)
class RoomConversation:
    """A conversation of a room and agent."""

    room: str
    agent: str
    session_id: str
    part: str
    """What it is of the room: HEAD, FORK or EARLIER."""

    @property
    def rank(self) -> int:
        """Which of a room's conversations comes first."""
        return _ORDER.index(self.part)


@dataclass(frozen=True)
class RoomFile:
    """A file with a conversation: its transcript, another one's of its turns, or a copy."""

    conversation: RoomConversation
    path: str
    written: float
    """When it was last written, in seconds of the system's clock."""
    size: int

    @property
    def is_compressed(self) -> bool:
        """Whether it is a copy that housekeeping compressed."""
        return self.path.endswith(".gz")

    def open(self) -> BinaryIO:
        """Open it for reading; a compressed one as what it was. Raises OSError."""
        if not self.is_compressed:
            return lines.open_regular(self.path)
        import gzip  # few are compressed
        import shutil
        import tempfile

        whole = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            with lines.open_regular(self.path) as file, gzip.open(file) as copied:
                shutil.copyfileobj(copied, whole)
            whole.seek(0)
        except (OSError, EOFError) as problem:
            whole.close()
            raise OSError(str(problem)) from problem
        return whole


def conversations(store: str, mappings: Iterable[mapped.Mapping]) -> list[RoomConversation]:
    """The conversations of these rooms and agents: heads, their forks, and earlier ones.

    Each is there once; one that several rooms have or had is the head's. Raises OSError.
    """
    keys = {(it.room, it.agent): it.session_id for it in mappings}
    found = {it: RoomConversation(*key, it, HEAD) for key, it in keys.items()}
    for room, agent, entry in history.everything(store):
        if (room, agent) in keys:
            earlier = RoomConversation(room, agent, entry["uuid"], EARLIER)
            found.setdefault(entry["uuid"], earlier)
    for fork, parent in _forks(store):
        if parent in found and fork not in found:
            its = found[parent]
            part = FORK if its.part == HEAD else EARLIER
            found[fork] = RoomConversation(its.room, its.agent, fork, part)
    return sorted(found.values(), key=lambda each: each.rank)


def files(store: str, wanted: Iterable[RoomConversation]) -> list[RoomFile]:
    """The files of conversations; of one that claude cleaned up, what is retained.

    Raises OSError where the folder of pins cannot be read.
    """
    by_id = {each.session_id: each for each in wanted}
    paths = projects.transcript_paths(by_id.keys())
    known = pins.known(store)
    found = []
    for session_id, conversation in by_id.items():
        for path in _paths(store, session_id, paths.get(session_id, []), known):
            try:
                status = os.stat(path)
            except OSError:
                continue  # it has just been deleted
            found.append(RoomFile(conversation, path, status.st_mtime, status.st_size))
    return found


def _paths(store: str, session_id: str, here: list[str], known: set[str]) -> Iterator[str]:
    if session_id not in known:
        yield from here
        return
    pin = pins.path(store, session_id)
    there = here or list(config_directories.paths_elsewhere(store, session_id))
    yield from there
    has_pin = pins.is_pinned(store, session_id)
    if there:
        # After a clean-up beneath a live claude, only the pin has the earlier turns.
        if has_pin and not any(_is_one(path, pin) for path in there):
            yield pin
        return
    if has_pin and restoring.restore_target(store, session_id) is None:
        return  # a person deleted the conversation
    copy = pins.copy_of(pin)
    if has_pin:
        yield pin
    elif os.path.exists(copy):
        yield copy


def _is_one(transcript: str, pin: str) -> bool:
    """Whether a pin is the transcript, or a copy that has all of it."""
    return hard_links.is_same(transcript, pin) or hard_links.is_current_copy(transcript, pin)


def _forks(store: str) -> Iterator[tuple[str, str]]:
    """Every fork, and the conversation that it is one of in the end."""
    try:
        names = os.listdir(f"{store}/{markers.FORKS}")
    except (FileNotFoundError, NotADirectoryError):
        return
    parents = {name: it.of for name in names if (it := fork_marker.of_fork(store, name))}
    for fork in parents:
        yield fork, _root(parents, fork)


def _root(parents: Mapping[str, str], fork: str) -> str:
    seen = {fork}
    at = parents[fork]
    while at in parents and at not in seen:
        seen.add(at)
        at = parents[at]
    return at
