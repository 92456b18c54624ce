"""The compressed copy of a conversation: what damages a transcript damages its pin, too.

Claude only ever appends to a transcript (help facts, "Clean-up"). One that has lost every message
was damaged, and the copy replaces it.
"""

from __future__ import annotations

import gzip
import os
import shutil

from shim.base import files
from shim.retention import pins

# RFC 1952: the last 4 bytes are the length of what was compressed, modulo 2**32.
_LENGTH = 4
_LEVEL = 6


def copy(store: str, session_id: str, transcript: str) -> None:
    """Copy a transcript, if it was written since the last copy and has not shrunk. Raises OSError.

    The copy has the transcript's time.
    """
    target = pins.copy_of(pins.path(store, session_id))
    status = os.stat(transcript)
    try:
        is_done = os.stat(target).st_mtime_ns == status.st_mtime_ns
    except FileNotFoundError:
        is_done = False
    if is_done or is_shorter(transcript, target):
        return

    def fill(unfinished: int) -> None:
        with (
            open(transcript, "rb") as source,
            open(unfinished, "wb", closefd=False) as file,
            gzip.GzipFile("", "wb", _LEVEL, file, 0) as copied,
        ):
            shutil.copyfileobj(source, copied)
        os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))

    files.replace_with(target, fill)


def is_shorter(transcript: str, copied: str) -> bool:
    """Whether a transcript is shorter than it was when it was copied. Raises OSError."""
    try:
        with open(copied, "rb") as file:
            file.seek(-_LENGTH, os.SEEK_END)
            length = int.from_bytes(file.read(_LENGTH), "little")
    except FileNotFoundError:
        return False
    return os.stat(transcript).st_size < length


def exists(pin: str) -> bool:
    """Whether there is a compressed copy beside a pin."""
    return os.path.exists(pins.copy_of(pin))


def restore(pin: str) -> None:
    """Replace a pin by its compressed copy. Raises OSError."""

    def fill(unfinished: int) -> None:
        with gzip.open(pins.copy_of(pin)) as copied, open(unfinished, "wb", closefd=False) as file:
            shutil.copyfileobj(copied, file)

    files.replace_with(pin, fill)
