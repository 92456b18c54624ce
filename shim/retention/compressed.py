"""One compressed copy of each conversation: what damages a transcript damages its link, too.

Claude only ever appends to a transcript (FACTS.md, "clean-up"). One that lost every message was
damaged, and the copy replaces it.
"""

from __future__ import annotations

import gzip
import os
import shutil

from shim.retention import hard_links, pins

_MODE = 0o600
# RFC 1952: the last 4 bytes are the length of what was compressed, modulo 2**32.
_LENGTH = 4


def copy(store: str, session_id: str, transcript: str) -> None:
    """Copy a transcript, if it was written since it last was and has not shrunk. Raises OSError."""
    target = pins.copy_of(pins.path(store, session_id))
    status = os.stat(transcript)
    try:
        is_done = os.stat(target).st_mtime_ns == status.st_mtime_ns
    except FileNotFoundError:
        is_done = False
    if is_done or is_shorter(transcript, target):
        return
    unfinished = target + pins.UNFINISHED
    with open(transcript, "rb") as file, gzip.open(unfinished, "wb", 6) as copied:
        os.chmod(unfinished, _MODE)
        shutil.copyfileobj(file, copied)
    os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(unfinished, target)


def is_shorter(transcript: str, copied: str) -> bool:
    """Whether a transcript has less than there was when it was copied. Raises OSError."""
    try:
        with open(copied, "rb") as file:
            file.seek(-_LENGTH, os.SEEK_END)
            length = int.from_bytes(file.read(_LENGTH), "little")
    except FileNotFoundError:
        return False
    return os.stat(transcript).st_size < length


def exists(kept: str) -> bool:
    """Whether a kept file has a copy."""
    return os.path.exists(pins.copy_of(kept))


def restore(kept: str) -> None:
    """Put the copy in the place of the kept file. Raises OSError."""
    unfinished = kept + pins.UNFINISHED
    hard_links.remove(unfinished)
    with gzip.open(pins.copy_of(kept)) as copied, open(unfinished, "xb") as file:
        os.chmod(unfinished, _MODE)
        shutil.copyfileobj(copied, file)
    os.replace(unfinished, kept)
