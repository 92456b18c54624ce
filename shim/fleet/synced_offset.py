"""How much of a file is in the log, and whether that part still is what it was."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass

# Bytes before its end by which a part is known again.
_KNOWN_BY = 4096
_CHUNK = 1 << 20


class Rewritten(Exception):
    """A file is not what it was where it is in the log already."""


@dataclass
class SyncedOffset:
    """The part of a file that is in the log: its bytes, and the checksum of the last of them.

    `cuts` says that the log has more behind it, which is to go.
    """

    size: int = 0
    check: int = 0
    cuts: bool = False

    def pending_range(self, file: int, is_lines: bool) -> tuple[int, int] | None:
        """From where to where an open file is to be appended now; of lines only whole ones.

        None where there is nothing to append. Raises Rewritten, OSError.
        """
        if not self.holds(file):
            raise Rewritten
        end = os.fstat(file).st_size
        stop = last_line_end(file, self.size, end) if is_lines else end
        return (self.size, stop) if stop > self.size or self.cuts else None

    def holds(self, file: int) -> bool:
        """Whether an open file still has this part. Raises OSError."""
        return os.fstat(file).st_size >= self.size and check(file, self.size) == self.check

    def move_to(self, file: int, size: int) -> None:
        """Note that a file is in the log up to there. Raises OSError."""
        self.size, self.check, self.cuts = size, check(file, size), False


def check(file: int, size: int) -> int:
    """What the first `size` bytes of an open file are known by. Raises OSError."""
    start = max(0, size - _KNOWN_BY)
    return zlib.crc32(os.pread(file, size - start, start))


def last_line_end(file: int, start: int, end: int) -> int:
    """Where the last whole line between two places of an open file ends. Raises OSError."""
    while end > start:
        at = max(start, end - _CHUNK)
        found = os.pread(file, end - at, at).rfind(b"\n")
        if found >= 0:
            return at + found + 1
        end = at
    return start
