"""What is noted of a fork: whose it is, and how much of each other the two conversations have.

The file `forks/<fork>` beside the store says it. An empty file `forked/<head>/<fork>` stands for
each fork of a conversation that has turns to give or to get, so that one look tells a conversation
without any. Version 0.2.0 wrote the parent's session id into `forks/<fork>` and nothing else.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import zlib

from shim.base import files, times
from shim.base.json_object import json_object
from shim.base.session_key import is_session_id
from shim.store import markers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

# Bytes before a place by which it is known again.
_KNOWN_BY = 256


class Place:
    """A place in a transcript, and the checksum of what stands before it."""

    __slots__ = ("check", "size")

    def __init__(self, size: int = 0, check: int = 0) -> None:
        self.size = size
        self.check = check

    @classmethod
    def at(cls, file: BinaryIO, size: int) -> Place:
        """The place behind the first `size` bytes of an open file. Raises OSError."""
        return cls(size, _check(file, size))

    @classmethod
    def at_end(cls, file: BinaryIO) -> Place:
        """The place behind the last byte of an open file. Raises OSError."""
        return cls.at(file, os.fstat(file.fileno()).st_size)

    def holds(self, file: BinaryIO) -> bool:
        """Whether the file is still what it was before this place. Raises OSError."""
        is_there = os.fstat(file.fileno()).st_size >= self.size
        return is_there and _check(file, self.size) == self.check


class Marker:
    """What is noted of a fork, the session id of which is `fork`.

    - `of`: the session id of the conversation that it is a fork of.
    - `head_known` and `fork_known`: up to where both files have all of each other. What lies behind
      is compared.
    - `head_read`: up to where the fork has all of the head; `fork_read`: the other way round.
    - `since`: since when it is a fork of this conversation; `by`: who began it.
    - `path`: its transcript.
    - `is_over`: whether the head had all of its turns, and no claude lived on it.
    """

    __slots__ = (
        "by",
        "fork",
        "fork_known",
        "fork_read",
        "head_known",
        "head_read",
        "is_over",
        "of",
        "path",
        "since",
    )

    def __init__(self, fork: str, of: str, by: str = "", path: str = "") -> None:
        self.fork = fork
        self.of = of
        self.by = by
        self.path = path
        self.since = times.now()
        self.is_over = False
        self.compare_whole()

    def compare_whole(self) -> None:
        """Have both files compared from their beginnings."""
        self.head_known = self.fork_known = self.head_read = self.fork_read = Place()

    def content(self) -> bytes:
        """What its file holds."""
        noted: dict[str, object] = {name: getattr(self, name) for name in _TEXTS}
        for name in _PLACES:
            place = getattr(self, name)
            noted[name] = [place.size, place.check]
        return json.dumps({**noted, "is_over": self.is_over}).encode()


_TEXTS = ("of", "since", "by", "path")
_PLACES = ("head_known", "fork_known", "head_read", "fork_read")


def of_fork(store: str, fork: str) -> Marker | None:
    """The marker of a fork; None where the conversation is none."""
    found = markers.read(store, markers.FORKS, fork)
    if is_session_id(found):
        return Marker(fork, found)
    noted = json_object(found)
    if not is_session_id(str(noted.get("of"))):
        return None
    marker = Marker(fork, "")
    for name in _TEXTS:
        setattr(marker, name, str(noted.get(name) or ""))
    for name in _PLACES:
        setattr(marker, name, _place(noted.get(name)))
    marker.is_over = noted.get("is_over") is True
    return marker


def all_of(store: str, head: str) -> list[Marker]:
    """The markers of a conversation's forks, the newest first; of those that are over none."""
    try:
        names = os.listdir(f"{store}/{markers.FORKED}/{head}")
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [marker for name in names if (marker := of_fork(store, name)) and marker.of == head]
    return sorted(found, key=lambda marker: marker.since, reverse=True)


def index_of(store: str, marker: Marker) -> str:
    """The empty file that stands for a fork in the list of its head."""
    return f"{store}/{markers.FORKED}/{marker.of}/{marker.fork}"


def clear_list(store: str, head: str) -> None:
    """Remove forks that have no marker any more from the list of a head."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(f"{store}/{markers.FORKED}/{head}"):
            if of_fork(store, name) is None:
                _leave(store, head, name)


def begin(store: str, marker: Marker) -> None:
    """Note a fork, durably. Raises OSError, Failure."""
    with _locked(store):
        _write(store, marker, files.replace)


def update(store: str, fork: str, change: Callable[[Marker], None]) -> None:
    """Change what is noted of a fork, if it still is one. Raises OSError, Failure.

    Nothing is lost if a power cut takes the change back: the places before are true as well.
    """
    with _locked(store):
        marker = of_fork(store, fork)
        if marker is not None:
            before, of = marker.content(), marker.of
            change(marker)
            if marker.of != of:
                _leave(store, of, fork)
            if marker.content() != before:
                _write(store, marker, _replace_at_once)


def end(store: str, fork: str) -> None:
    """Note that a fork is over: who resumes it notes it anew. Raises OSError, Failure."""

    def change(marker: Marker) -> None:
        marker.is_over = True

    update(store, fork, change)


def drop(store: str, fork: str) -> None:
    """Note no longer that it is a fork. Raises OSError, Failure."""
    with _locked(store):
        marker = of_fork(store, fork)
        if marker is not None:
            _leave(store, marker.of, fork)
            os.unlink(markers.path(store, markers.FORKS, fork))


def _place(noted: object) -> Place:
    match noted:
        case [int(size), int(check)]:
            return Place(size, check)
    return Place()


def _write(store: str, marker: Marker, write: Callable[[str, bytes], None]) -> None:
    write(markers.path(store, markers.FORKS, marker.fork), marker.content())
    if marker.is_over:
        _leave(store, marker.of, marker.fork)
    else:
        files.make_directory(f"{store}/{markers.FORKED}/{marker.of}")
        with open(index_of(store, marker), "ab"):
            pass


def _leave(store: str, head: str, fork: str) -> None:
    """Remove a fork from the list of its head, and the list with the last one."""
    with contextlib.suppress(OSError):
        os.unlink(f"{store}/{markers.FORKED}/{head}/{fork}")
    with contextlib.suppress(OSError):
        os.rmdir(f"{store}/{markers.FORKED}/{head}")


def _replace_at_once(path: str, data: bytes) -> None:
    files.replace_with(path, lambda file: files.write(file, data, 0))


@contextlib.contextmanager
def _locked(store: str) -> Iterator[None]:
    """Change markers alone: a head and its forks are different claudes'."""
    files.make_directory(f"{store}/{markers.FORKS}")
    directory = os.open(f"{store}/{markers.FORKS}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(directory, fcntl.LOCK_EX)
        yield
    finally:
        os.close(directory)


def _check(file: BinaryIO, size: int) -> int:
    start = max(0, size - _KNOWN_BY)
    return zlib.crc32(os.pread(file.fileno(), size - start, start))
