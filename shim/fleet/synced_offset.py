"""How much of a local file is in the log, and whether that part is still unchanged."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass

# Bytes before the offset whose checksum tells whether the part before it is unchanged.
_CHECKED = 4096
_CHUNK = 1 << 20


class Rewritten(Exception):
    """The part of a file that is in the log already has changed."""


@dataclass
class SyncedOffset:
    """The size of the part that is in the log, and the checksum of its last bytes.

    `cuts` says that the log has more behind it, which must be cut off.
    """

    size: int = 0
    check: int = 0
    cuts: bool = False

    def pending_range(self, file: int, is_lines: bool) -> tuple[int, int] | None:
        """The range of an open file to append now, of lines only whole ones.

        None where nothing is pending. Raises Rewritten, OSError.
        """
        if not self.matches(file):
            raise Rewritten
        end = os.fstat(file).st_size
        stop = last_line_end(file, self.size, end) if is_lines else end
        return (self.size, stop) if stop > self.size or self.cuts else None

    def matches(self, file: int) -> bool:
        """Whether an open file still has the part unchanged. Raises OSError."""
        return os.fstat(file).st_size >= self.size and checksum(file, self.size) == self.check

    def move_to(self, file: int, size: int) -> None:
        """Record that the log has an open file up to there. Raises OSError."""
        self.size, self.check, self.cuts = size, checksum(file, size), False


def checksum(file: int, size: int) -> int:
    """The checksum of the last bytes among the first `size` of an open file. Raises OSError."""
    start = max(0, size - _CHECKED)
    return zlib.crc32(os.pread(file, size - start, start))


def last_line_end(file: int, start: int, end: int) -> int:
    """The offset behind the last whole line of a range; `start` without one. Raises OSError."""
    while end > start:
        at = max(start, end - _CHUNK)
        found = os.pread(file, end - at, at).rfind(b"\n")
        if found >= 0:
            return at + found + 1
        end = at
    return start
