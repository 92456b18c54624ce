"""The folder of kept conversations beside the store, and what stands in it.

`kept/<session id>.jsonl` is the transcript itself under a second name: it costs nothing, grows with
the conversation, and is still there when claude has deleted the first (FACTS.md, "clean-up").
Beside it, by the same session id:
- `.from`, a symbolic link, says where the first name was, or where a conversation that starts now
  will have it: another account finds it there.
- `.link`, a symbolic link to nowhere, says of which file the two names were seen to be.
- `.jsonl.gz` is a compressed copy (`copies.py`).
- the directory of that name has what claude keeps beside the transcript (`beside.py`).
"""

import posix

from shim.base import environment
from shim.base.messages import warn
from shim.claude import transcripts
from shim.claude.transcripts import ENDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FOLDER: "Final" = "kept"
FROM: "Final" = ".from"
UNFINISHED: "Final" = ".new"
_LINK = ".link"
_COPY = ".gz"
_DAYS = 365.0


def days() -> float:
    """`NSED_KEEP_DAYS`: for how many idle days a conversation is kept. 0 keeps nothing."""
    text = environment.get("NSED_KEEP_DAYS")
    if not text:
        return _DAYS
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        warn(f"NSED_KEEP_DAYS={text} is no number of days: {_DAYS:g} is taken")
        return _DAYS
    return number


def path(store: str, session_id: str) -> str:
    """Where a conversation is kept, if it is."""
    return f"{store}/{FOLDER}/{session_id}{ENDING}"


def origin_of(kept: str) -> str:
    """What says where a kept file's transcript was."""
    return kept.removesuffix(ENDING) + FROM


def link_of(kept: str) -> str:
    """What says of which file a kept file was seen to be a second name."""
    return kept.removesuffix(ENDING) + _LINK


def copy_of(kept: str) -> str:
    """Where a kept file's compressed copy is, if there is one."""
    return kept + _COPY


def sidecars_of(store: str, session_id: str) -> str:
    """Where what was beside the transcript is kept, if there was something."""
    return f"{store}/{FOLDER}/{session_id}"


def sidecar_sources(kept: str) -> dict[str, str]:
    """The directories of sidecars that a folder retains, by the short names that they have there.

    One under a config directory that is gone belongs under the current one.
    """
    try:
        notes = [name for name in posix.listdir(kept) if name.endswith(FROM)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    return {
        note.removesuffix(FROM): transcripts.lasting_path(posix.readlink(f"{kept}/{note}"))
        for note in notes
    }


def last_change(directory: str) -> int:
    """When a name in a directory, or in those in it, came or went last, in ns; 0 without one."""
    try:
        inside = [f"{directory}/{name}" for name in posix.listdir(directory)]
        return max(posix.stat(place).st_mtime_ns for place in (directory, *inside))
    except OSError:
        return 0


def identity(kept: str) -> str:
    """What a kept file is, in this folder; none that was restored or copied is the same.

    Raises OSError.
    """
    file, directory = posix.lstat(kept), posix.lstat(kept.rpartition("/")[0])
    return f"{file.st_dev}:{file.st_ino}:{directory.st_ino}"


def note(link: str, target: str) -> None:
    """Have a symbolic link say something, whatever it said. Raises OSError."""
    try:
        posix.symlink(target, link)
    except FileExistsError:
        if _noted(link) != target:
            try:
                posix.unlink(link + UNFINISHED)
            except FileNotFoundError:
                pass
            posix.symlink(target, link + UNFINISHED)
            posix.rename(link + UNFINISHED, link)
    except FileNotFoundError:
        directory = link.rpartition("/")[0]
        posix.mkdir(directory, 0o700)
        posix.chmod(directory, 0o700)  # whatever the umask
        posix.symlink(target, link)


def _noted(link: str) -> str | None:
    """What a symbolic link says; None of a file, which some tools restore in the place of links."""
    try:
        return posix.readlink(link)
    except OSError:
        return None


def is_pinned(store: str, session_id: str) -> bool:
    """Whether the conversation has a kept file."""
    try:
        posix.lstat(path(store, session_id))
    except OSError:
        return False
    return True


def session_ids(store: str) -> list[str]:
    """The conversations that are kept. Raises OSError where that cannot be told."""
    return [name.removesuffix(ENDING) for name in _names(store) if name.endswith(ENDING)]


def known(store: str) -> set[str]:
    """The conversations that are kept, or where they are is noted. Raises OSError."""
    return {name.partition(".")[0] for name in _names(store)}


def _names(store: str) -> list[str]:
    try:
        return posix.listdir(f"{store}/{FOLDER}")
    except (FileNotFoundError, NotADirectoryError):
        return []
