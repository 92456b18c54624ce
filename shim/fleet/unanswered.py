"""Questions that no sync daemon has answered, each kept in a file until one takes it.

A call that runs without the fleet leaves its question behind before claude starts, and so does a
hook that finds no daemon. Without that, nobody would know that the turns have to be sent.
"""

import posix
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTORY = "fleet/unanswered"
REQUESTS = ("begin", "flush", "link")
"""Those that tell of turns."""
_LARGEST = 1 << 26


def keep(store: str, question: bytes) -> None:
    """Keep a question, on the disk. Raises OSError."""
    directory = f"{store}/{DIRECTORY}"
    for path in (f"{store}/fleet", directory):
        try:
            posix.mkdir(path, 0o700)
        except FileExistsError:
            continue
    name = f"{posix.getpid()}-{time.time_ns()}"
    new = f"{directory}/.{name}"
    file = posix.open(new, posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC, 0o600)
    try:
        rest = memoryview(question)
        while rest:
            rest = rest[posix.write(file, rest) :]
        posix.fsync(file)
    finally:
        posix.close(file)
    posix.rename(new, f"{directory}/{name}")


def all_kept(store: str) -> "Iterator[tuple[str, bytes, float]]":
    """The kept questions, oldest first: the path of each, its line, and when it was asked."""
    directory = f"{store}/{DIRECTORY}"
    try:
        names = [name for name in posix.listdir(directory) if not name.startswith(".")]
    except FileNotFoundError:
        return
    for name in sorted(names, key=lambda each: each.rpartition("-")[2]):
        path = f"{directory}/{name}"
        try:
            file = posix.open(path, posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_CLOEXEC)
        except OSError:
            continue
        try:
            yield path, posix.read(file, _LARGEST), posix.fstat(file).st_mtime
        finally:
            posix.close(file)


def changed_at(store: str) -> int:
    """When a question was last kept or taken, in nanoseconds; 0 where none ever was."""
    try:
        return posix.stat(f"{store}/{DIRECTORY}").st_mtime_ns
    except OSError:
        return 0
