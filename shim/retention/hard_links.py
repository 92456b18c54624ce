"""A second name for a file, or a copy of it where the filesystem can give it none."""

from __future__ import annotations

import contextlib
import errno
import os

from shim.retention.pins import UNFINISHED

# What a filesystem answers where it has no hard links, is another one, has too many of one, or
# cannot be written where the file is.
_NO_LINKS = (
    *(errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EROFS),
    *(errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
)


def link_or_copy(source: str, target: str, mode: int | None = None) -> bool:
    """Make the target the same file, in the place of any other; whether that needed no copy.

    `mode` is a copy's. A kill at any instant leaves the target as it was or as it is to be. Raises
    OSError.
    """
    unfinished = target + UNFINISHED
    remove(unfinished)
    try:
        _link(source, target, unfinished)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        if not is_current_copy(source, target):
            _copy(source, target, mode)
        return False
    return True


def is_same(one: str, other: str) -> bool:
    """Whether both are names of one file."""
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def is_current_copy(source: str, copy: str) -> bool:
    """Whether a file was copied since it was last written."""
    original = os.stat(source)
    try:
        status = os.stat(copy)
    except FileNotFoundError:
        return False
    return (status.st_size, status.st_mtime_ns) == (original.st_size, original.st_mtime_ns)


def remove(path: str) -> None:
    """Remove a file, if it is there. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _link(source: str, target: str, unfinished: str) -> None:
    try:
        # At once: a second name that a kill left behind would hide that the first was deleted.
        os.link(source, target)
    except FileExistsError:
        os.link(source, unfinished)
        os.replace(unfinished, target)
        remove(unfinished)  # where both were links to one file already, a rename does nothing


def _copy(source: str, target: str, mode: int | None) -> None:
    import shutil  # most have no need of copies, and its import takes as long as a call

    unfinished = target + UNFINISHED
    try:
        shutil.copy2(source, unfinished)
        if mode is not None:
            os.chmod(unfinished, mode)
        os.replace(unfinished, target)
    except OSError:
        remove(unfinished)
        raise
