"""Changing sessions.json in place so that a kill or a power cut at any instant loses nothing."""

import os
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# Stands for the document's `{` while the rest is rewritten: no parser takes what is there then,
# and what is to be there is in the backup.
TORN: "Final" = b"!"


def commit(path: str, file: int, data: bytes) -> None:
    """Make the open, locked file hold a new document, with the document safe in its backup first.

    The file is written in place and keeps its inode, because others wait for its lock. Raises
    OSError: before the file is touched where the disk is full, and at worst with the file torn and
    the backup whole.
    """
    replace(path + ".bak", data)
    size = os.fstat(file).st_size
    if len(data) > size:
        _reserve(file, size, len(data))
    _write(file, TORN, 0)
    _write(file, data[1:], 1)
    os.ftruncate(file, len(data))
    _write(file, data[:1], 0)


def backup(path: str) -> bytes:
    """What the backup of a document holds; nothing where there is none. Raises OSError."""
    try:
        with open(path + ".bak", "rb") as file:
            return file.read()
    except FileNotFoundError:
        return b""


def keep_aside(path: str, data: bytes) -> str:
    """Write damaged content beside the document, and return where. Raises OSError."""
    aside = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    while os.path.lexists(aside):
        aside += "-"
    _write_new(aside, data, os.O_EXCL)
    return aside


def replace(path: str, data: bytes) -> None:
    """Put a new file in a path's place, at once and for good. Raises OSError."""
    # One name for the unfinished file: the store's lock makes this its only writer, and what a
    # killed one left is overwritten.
    unfinished = path + ".new"
    _write_new(unfinished, data, os.O_TRUNC)
    os.rename(unfinished, path)
    directory = os.open(os.path.dirname(path) or os.curdir, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _write_new(path: str, data: bytes, flag: int) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flag, 0o600)
    try:
        _write(file, data, 0)
        os.fsync(file)
    except OSError:
        os.unlink(path)
        raise
    finally:
        os.close(file)


def _reserve(file: int, size: int, wanted: int) -> None:
    """Have the disk give the space now; line ends behind a document leave it valid."""
    try:
        _write(file, b"\n" * (wanted - size), size)
    except OSError:
        os.ftruncate(file, size)
        raise


def _write(file: int, data: bytes, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        rest = rest[written:]
        at += written
