"""Reading and writing whole files safely, and directories that are this user's alone.

With `posix` alone: importing `os`, which wraps it, takes 0.7 ms, a tenth of a call.
"""

import posix

from shim.base import environment
from shim.base.messages import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from os import stat_result
    from typing import Final

UNFINISHED: "Final" = ".new"
"""How the name of a file ends that is to replace another."""

# POSIX gives these no numbers, but every system has the same.
_KIND = 0o170000
_REGULAR = 0o100000
_DIRECTORY = 0o040000
_STICKY = 0o1000


def is_regular(status: "stat_result") -> bool:
    """Whether a status is that of a regular file, and not of a directory or a FIFO."""
    return status.st_mode & _KIND == _REGULAR


def is_directory(status: "stat_result") -> bool:
    """Whether a status is that of a directory."""
    return status.st_mode & _KIND == _DIRECTORY


def content(file: int) -> bytes:
    """The content of an open file. Raises OSError."""
    size = posix.fstat(file).st_size
    pieces = []
    at = 0
    while at < size and (piece := posix.pread(file, size - at, at)):
        pieces.append(piece)
        at += len(piece)
    return b"".join(pieces)


def read(path: str) -> bytes:
    """The content of a file; of one without a size, as in /proc, its first 64 KiB.

    Empty where it cannot be read. A FIFO is not waited for.
    """
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return content(file) or posix.read(file, 1 << 16)
    except OSError:
        return b""
    finally:
        posix.close(file)


def write(file: int, data: bytes, at: int) -> None:
    """Write all of the data to an open file at a position. Raises OSError."""
    rest = memoryview(data)
    while rest:
        written = posix.pwrite(file, rest, at)
        rest = rest[written:]
        at += written


def write_new(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a new file durably, with a mode whatever the umask.

    Raises OSError, FileExistsError among them; the file is not left half written.
    """
    file = posix.open(path, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL, 0o600)
    try:
        posix.fchmod(file, mode)
        write(file, data, 0)
        posix.fsync(file)
    except BaseException:
        posix.unlink(path)
        raise
    finally:
        posix.close(file)


def replace(path: str, data: bytes, mode: int = 0o600) -> None:
    """Write a file whole, in the place of any other, durably. Raises OSError.

    A kill or a power cut at any instant leaves the file as it was or as it is to be.
    """

    def fill(file: int) -> None:
        write(file, data, 0)
        posix.fsync(file)

    replace_with(path, fill, mode)
    _flush_directory(path)


def replace_with(path: str, fill: "Callable[[int], object]", mode: int = 0o600) -> None:
    """Replace a file at once by a new one, which `fill` writes to an open descriptor.

    A kill at any instant leaves the file as it was or as it is to be. Raises OSError.
    """
    # A name that nobody can guess: two writers at once must not share one, and what another user
    # put there must not be written to. Housekeeping removes what a kill leaves behind.
    unfinished = f"{path}.{posix.urandom(8).hex()}{UNFINISHED}"
    file = posix.open(unfinished, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL, 0o600)
    try:
        try:
            fill(file)
            posix.fchmod(file, mode)
        finally:
            posix.close(file)
        posix.rename(unfinished, path)
    except BaseException:
        posix.unlink(unfinished)
        raise


def _flush_directory(path: str) -> None:
    """Have the disk store the name of a file, too."""
    directory = posix.open(path[: path.rfind("/") + 1] or ".", posix.O_RDONLY)
    try:
        posix.fsync(directory)
    finally:
        posix.close(directory)


def leave_to_its_owner(path: str) -> None:
    """Refuse another user's store. Raises Failure.

    Its owner could decide there what is resumed and which files are written. root, whom no
    permission stops, would make files that the owner can no longer use (`sudo` with a kept HOME),
    so for a store that does not exist yet the owner of its nearest directory counts. A HOME that
    the password database does not have is for this process alone, whoever owns it: a container job
    of a CI runs as root with such a one.
    """
    user, there = posix.geteuid(), path
    while (status := _status(there)) is None and user == 0 and "/" in there:
        there = there.rpartition("/")[0]
    if status is None or status.st_uid == user:
        return
    if user == 0:
        is_home = there != path and there == environment.get("HOME")
        if is_home and not environment.is_users_home(there):
            return
        raise Failure(
            f"{there} belongs to another user, and you are root: run this as that user, or set"
            " NSED_SESSION_DIR to a directory of root's"
        )
    if status.st_uid != 0 or status.st_mode & _STICKY:
        raise _not_ours(path)


def make_directory(path: str) -> None:
    """Make the store's directory, if there is none, and check that it is this user's alone.

    Raises Failure.
    """
    leave_to_its_owner(path)
    try:
        _make_directories(path)
        status = posix.stat(path)
    except OSError as problem:
        raise Failure(f"{path}: {problem.strerror}") from problem
    if status.st_uid != posix.geteuid() or status.st_mode & _STICKY:
        raise _not_ours(path)


def _not_ours(path: str) -> Failure:
    return Failure(f"{path} is not yours alone: set NSED_SESSION_DIR to a directory that is")


def is_own_directory(path: str) -> bool:
    """Whether there is a directory that belongs to this user."""
    status = _status(path)
    return status is not None and is_directory(status) and status.st_uid == posix.geteuid()


def make_own_directory(path: str) -> None:
    """Make a directory under a shared one, and check that it is this user's. Raises Failure."""
    try:
        posix.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as problem:
        raise Failure(f"{path}: {problem.strerror}; set HOME or NSED_SESSION_DIR") from problem
    status = posix.lstat(path)
    if not is_directory(status) or status.st_uid != posix.geteuid():
        raise Failure(f"{path} is not your own directory: set HOME or NSED_SESSION_DIR")


def _make_directories(path: str) -> None:
    if _is_directory_at(path):
        return
    parent = path.rstrip("/").rpartition("/")[0]
    if parent:
        _make_directories(parent)
    try:
        posix.mkdir(path, 0o700)
        posix.chmod(path, 0o700)  # whatever the umask
    except FileExistsError:
        if not _is_directory_at(path):
            raise


def _is_directory_at(path: str) -> bool:
    status = _status(path)
    return status is not None and is_directory(status)


def _status(path: str) -> "stat_result | None":
    try:
        return posix.stat(path)
    except OSError:
        return None
