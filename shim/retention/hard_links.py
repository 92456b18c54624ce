"""Hard links, and copies where the filesystem has no hard links."""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from shim.base import files

# Errors of a filesystem that has no hard links, is another one than the target's, has too many
# links to the file, or is read-only.
_NO_LINKS = (
    *(errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EROFS),
    *(errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS),
)

_CHUNK = 1 << 20


def link_or_copy(source: str, target: str, mode: int | None = None) -> bool:
    """Make the target a hard link to the source, or else a copy; return whether it is a link.

    Another file of the target's name is replaced; a kill at any instant leaves the target as it
    was or as it is to be. A copy gets the `mode`, or else the source's. Raises OSError.
    """
    unfinished = target + files.UNFINISHED
    remove(unfinished)
    try:
        _link(source, target, unfinished)
    except OSError as problem:
        if problem.errno not in _NO_LINKS:
            raise
        if not is_current_copy(source, target):
            copy(source, target, mode)
        return False
    return True


def is_same(one: str, other: str) -> bool:
    """Whether both paths name one file."""
    try:
        return os.path.samefile(one, other)
    except FileNotFoundError:
        return False


def is_current_copy(source: str, copy: str) -> bool:
    """Whether a copy has the size and the time of the file it was made of. Raises OSError."""
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
        # In one step: another name that a kill left behind would hide that the first was deleted.
        os.link(source, target)
    except FileExistsError:
        os.link(source, unfinished)
        os.replace(unfinished, target)
        remove(unfinished)  # a rename does nothing where both are links to one file already


def copy(source: str, target: str, mode: int | None = None) -> None:
    """Copy a file with its time, in the place of any other, as the original's mode or another.

    Raises OSError.
    """
    import shutil  # most have no need of copies, and its import takes as long as a call

    with open(source, "rb") as original:
        status = os.fstat(original.fileno())

        def fill(unfinished: int) -> None:
            with open(unfinished, "wb", closefd=False) as file:
                shutil.copyfileobj(original, file, _CHUNK)
            os.utime(unfinished, ns=(status.st_atime_ns, status.st_mtime_ns))

        files.replace_with(target, fill, stat.S_IMODE(status.st_mode) if mode is None else mode)
