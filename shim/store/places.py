"""Where rooms stand in a large sessions.json, remembered as long as nobody else changes the file.

The file `places` beside it holds its size and time of change as they were behind our last call,
then slots: in each the place of one of the rooms whose names fall on it. Where size or time are
others by now, all is forgotten, since of two rooms with one name the last one counts, and another
writer may have added that. What is remembered is only where to look: the name has to stand there.

Called with the lock of sessions.json held. Nothing here raises: what fails is looked for.
"""

import posix

from shim.base.messages import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FILE_NAME: "Final" = "places"

# Below that, to look for a room takes less than to remember it would be worth.
_LARGE = 1 << 20
_SLOTS = 131071
_WIDTH = 8
_HEAD = 2 * _WIDTH


class Places:
    """The places of the rooms in an open document; none where it is small."""

    __slots__ = ("_document", "_file", "_holds")

    def __init__(self, directory: str, document: int) -> None:
        self._document = document
        self._file: int | None = None
        self._holds = False
        if posix.fstat(document).st_size < _LARGE:
            return
        how = posix.O_RDWR | posix.O_CREAT | posix.O_NONBLOCK | posix.O_CLOEXEC
        try:
            self._file = posix.open(f"{directory}/{FILE_NAME}", how, 0o600)
            self._holds = posix.pread(self._file, _HEAD, 0) == self._head()
        except OSError as problem:
            explain(f"places are not remembered: {problem.strerror}")

    def of(self, room: bytes) -> int | None:
        """Where a room stood when it was looked for last, if that is remembered."""
        if self._file is None or not self._holds:
            return None
        try:
            return int.from_bytes(posix.pread(self._file, _WIDTH, _slot(room)), "little") or None
        except OSError:
            return None

    def note(self, room: bytes, place: int) -> None:
        """Remember where a room stands, once the document is as it is to be. To be called last."""
        if self._file is None:
            return
        try:
            if not self._holds:
                posix.ftruncate(self._file, 0)
            posix.pwrite(self._file, place.to_bytes(_WIDTH, "little"), _slot(room))
            posix.pwrite(self._file, self._head(), 0)
        except OSError as problem:
            explain(f"places are not remembered: {problem.strerror}")

    def close(self) -> None:
        """Close the file, and not the document."""
        if self._file is not None:
            posix.close(self._file)

    def _head(self) -> bytes:
        status = posix.fstat(self._document)
        numbers = (status.st_size, status.st_mtime_ns)
        return b"".join(number.to_bytes(_WIDTH, "little", signed=True) for number in numbers)


def _slot(room: bytes) -> int:
    return _HEAD + int.from_bytes(room, "little") % _SLOTS * _WIDTH
