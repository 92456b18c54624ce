"""The folder `kept/` beside the store, and what it retains of each conversation.

`<session id>.jsonl` is the pin, a hard link to the transcript: it costs nothing, grows with the
conversation, and survives when claude deletes the transcript (help facts, "Clean-up"). Beside it,
by the same session id:
- `.from`, a symbolic link, names the transcript's path, or the one that a conversation which starts
  now will have: a claude under another config directory finds it there.
- `.link`, a symbolic link to nowhere, names the file that the pin and the transcript were.
- `.jsonl.gz` is a compressed copy (compressed.py).
- the directory of that name has the sidecars (sidecars.py).
"""

import posix

from shim.base import environment, files
from shim.base.messages import warn
from shim.claude import transcripts
from shim.claude.transcripts import ENDING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FOLDER: "Final" = "kept"
FROM: "Final" = ".from"
_LINK = ".link"
_COPY = ".gz"
_DAYS = 365.0


def days() -> float:
    """`NSED_KEEP_DAYS`: for how many idle days a conversation is retained. 0 retains nothing."""
    text = environment.get("NSED_KEEP_DAYS")
    if not text:
        return _DAYS
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        warn(f"NSED_KEEP_DAYS={text} is no number of days; using {_DAYS:g}")
        return _DAYS
    return number


def path(store: str, session_id: str) -> str:
    """The path of a conversation's pin."""
    return f"{store}/{FOLDER}/{session_id}{ENDING}"


def origin_of(pin: str) -> str:
    """The link that names the path of a pin's transcript."""
    return pin.removesuffix(ENDING) + FROM


def link_of(pin: str) -> str:
    """The link that names the file that a pin and its transcript were."""
    return pin.removesuffix(ENDING) + _LINK


def copy_of(pin: str) -> str:
    """The path of a pin's compressed copy."""
    return pin + _COPY


def sidecars_of(store: str, session_id: str) -> str:
    """The folder that retains a conversation's sidecars."""
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


def identity(pin: str) -> str:
    """What tells a pin in this folder from any that was copied or restored from a backup.

    Raises OSError.
    """
    file, directory = posix.lstat(pin), posix.lstat(pin.rpartition("/")[0])
    return f"{file.st_dev}:{file.st_ino}:{directory.st_ino}"


def note(link: str, target: str) -> None:
    """Make a symbolic link to a target, in the place of any other file. Raises OSError."""
    try:
        posix.symlink(target, link)
    except FileExistsError:
        if _noted(link) != target:
            try:
                posix.unlink(link + files.UNFINISHED)
            except FileNotFoundError:
                pass
            posix.symlink(target, link + files.UNFINISHED)
            posix.rename(link + files.UNFINISHED, link)
    except FileNotFoundError:
        directory = link.rpartition("/")[0]
        posix.mkdir(directory, 0o700)
        posix.chmod(directory, 0o700)  # whatever the umask
        posix.symlink(target, link)


def _noted(link: str) -> str | None:
    """The target of a symbolic link; None of a file, which some backups restore in its place."""
    try:
        return posix.readlink(link)
    except OSError:
        return None


def is_pinned(store: str, session_id: str) -> bool:
    """Whether the conversation has a pin."""
    try:
        posix.lstat(path(store, session_id))
    except OSError:
        return False
    return True


def session_ids(store: str) -> list[str]:
    """The conversations that have a pin. Raises OSError where the folder cannot be read."""
    return [name.removesuffix(ENDING) for name in _names(store) if name.endswith(ENDING)]


def known(store: str) -> set[str]:
    """The conversations that have a pin, or a noted path. Raises OSError."""
    return {name.partition(".")[0] for name in _names(store)}


def _names(store: str) -> list[str]:
    try:
        return posix.listdir(f"{store}/{FOLDER}")
    except (FileNotFoundError, NotADirectoryError):
        return []
