"""Transcripts on disk: where a conversation is, and whether claude can resume it."""

import posix
import time

from shim.base import environment, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from os import stat_result
    from typing import Final

ENDING: "Final" = ".jsonl"
"""Of a transcript's name, behind the session id."""
TOOL_RESULTS: "Final" = "tool-results"
"""The folder among a transcript's sidecars that has long results of tools."""

# A transcript without either is one that claude refuses to resume and to start (help facts,
# "Which conversation").
_MESSAGES = (b'"type":"user"', b'"type":"assistant"')
_LINE_STARTS = (b'{"parentUuid":', b'{"type":"queue-operation"')
# Claude cuts longer project names and appends a hash of its own (help facts, "Which conversation").
LONGEST_PROJECT_NAME = 200
# What claude takes no project's name from a variable for: Windows has these names for devices.
_LONGEST_NAMED = 64
_DEVICES = ("con", "prn", "aux", "nul")
_PORTS = ("com", "lpt")
_DIGITS = tuple("0123456789")


class Transcript:
    """The transcript of a conversation that can be resumed, and whether it is in this project."""

    __slots__ = ("is_here", "path", "status")

    def __init__(self, path: str, is_here: bool, status: "stat_result") -> None:
        self.path = path
        self.is_here = is_here
        self.status = status


def config_directory() -> str:
    """Claude Code's configuration directory."""
    return environment.get("CLAUDE_CONFIG_DIR") or environment.in_home(".claude")


def projects_directory() -> str:
    """Claude Code's directory of transcripts, one directory a project."""
    return config_directory() + "/projects"


def config_directory_of(path: str) -> str:
    """The configuration directory that a transcript's path is in."""
    return path.rsplit("/", 3)[0]


def sidecars_of(path: str) -> str:
    """The directory of what claude keeps beside a transcript."""
    return path.removesuffix(ENDING)


def without_link(path: str) -> str:
    """The path of the file itself, where a transcript's path is a link to one."""
    try:
        target = posix.readlink(path)
    except OSError:
        return path
    return target if target.startswith("/") else path


def session_id_of(path: str) -> str:
    """The session id of the conversation that a transcript's path names."""
    return path.rpartition("/")[2].removesuffix(ENDING)


def lasting_path(path: str) -> str:
    """A path under a config directory, moved to the current one where its own is gone or temporary.

    Where the current one is temporary, too, it is moved to the usual one.
    """
    own = config_directory_of(path)
    if exists(own + "/projects") and not is_temporary(own):
        return path
    current = config_directory()
    if not current.startswith("/"):
        current = f"{posix.getcwd()}/{current}"
    return (usual_config_directory() if is_temporary(current) else current) + path.removeprefix(own)


def usual_config_directory() -> str:
    """The configuration directory of this user where no variable names another."""
    return environment.in_home(".claude")


def is_temporary(directory: str) -> bool:
    """Whether a configuration directory is one that whoever made it will delete.

    The SDKs make such in the system's temporary directory (help facts, "Beyond one machine"). Where
    the home is in there too, no directory counts as temporary.
    """
    temporary = (environment.get("TMPDIR") or "/tmp").rstrip("/") + "/"
    return directory.startswith(temporary) and not environment.in_home("").startswith(temporary)


def project_name(directory: str) -> str:
    """Claude Code's name for a working directory.

    Every character outside `[a-zA-Z0-9]` is a `-`, and JavaScript counts one beyond U+FFFF as two.
    """
    return "".join(
        char if char.isascii() and char.isalnum() else "-" if ord(char) < 0x10000 else "--"
        for char in directory
    )


def find(session_id: str) -> tuple[Transcript | None, list[str]]:
    """The transcript to resume, and the paths that stand in the way of starting afresh.

    This directory's project comes first, then the most recently written. What holds no message
    can be neither resumed nor, in this project, started: it stands in the way, and is named only
    where nothing can be resumed. Raises OSError where a transcript cannot be read.
    """
    projects = projects_directory()
    here = this_project()
    name = session_id + ENDING
    if here is not None:
        path = f"{here}/{name}"
        status = resumable(path)
        if status is not None:
            return Transcript(path, is_here(path), status), []
    unusable = []
    for path in sorted(copies(projects, name), key=_written, reverse=True):
        status = resumable(path)
        if status is not None:
            return Transcript(path, is_here(path), status), []
        unusable.append(path)
    return None, unusable


def unwritable(transcript: str | None) -> str | None:
    """What keeps claude from writing a transcript, by its path; None if nothing does.

    Without a transcript, it is to be written in this directory's project.
    """
    if transcript is not None:
        return None if posix.access(transcript, posix.W_OK) else transcript
    place = this_project() or projects_directory()
    while place and not posix.access(place, posix.F_OK):
        place = place.rpartition("/")[0]
    place = place or "/"
    can_write = posix.access(place, posix.W_OK | posix.X_OK) and files.is_directory(
        posix.stat(place)
    )
    return None if can_write else place


def is_here(path: str) -> bool:
    """Whether every claude looks a conversation of that path up by its id, from this directory.

    Where a variable names the project, 2.1.197 does not heed it, and looks elsewhere.
    """
    return not _named_project() and path.rpartition("/")[0] == this_project()


def set_aside(path: str) -> str:
    """Rename a transcript that holds no message, and return its new path. Raises OSError."""
    aside = f"{path}.unusable-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    while exists(aside):
        aside += "-"
    posix.rename(path, aside)
    return aside


def this_project() -> str | None:
    """Where claude writes what is new here, as far as that can be known."""
    try:
        here = posix.getcwd()
    except OSError:
        return None  # the working directory is gone
    name = _named_project() or project_name(here)
    if len(name) > LONGEST_PROJECT_NAME:
        name = f"{name[:LONGEST_PROJECT_NAME]}-{_hash(here)}"
    return f"{projects_directory()}/{name}"


def _hash(directory: str) -> str:
    """What claude appends to a project name that it cuts: 31 bits of the path, in base 36.

    Measured on 2.1.197, 2.1.330 and 2.1.332 (help facts, "Which conversation").
    """
    value = 0
    units = directory.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        value = (31 * value + low + (high << 8)) & 0xFFFFFFFF
    value = min(value, (1 << 32) - value)
    digits = ""
    while value or not digits:
        value, digit = divmod(value, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
    return digits


def _named_project() -> str:
    """What a variable names this project; empty where claude would not heed it.

    Measured and read in 2.1.331 (help facts, "Which conversation").
    """
    name = environment.get("CLAUDE_CODE_PROJECT_DIR_NAME")
    if not name or not environment.get("CLAUDE_CONFIG_DIR"):
        return ""
    is_plain = name.isascii() and name.replace("-", "a").replace("_", "a").isalnum()
    is_device = name.lower() in _DEVICES or (name[:3].lower() in _PORTS and name[3:] in _DIGITS)
    return name if is_plain and len(name) <= _LONGEST_NAMED and not is_device else ""


def copies(projects: str, name: str) -> "Iterator[str]":
    """The paths of a file of that name in whichever projects. Raises OSError."""
    try:
        names = posix.listdir(projects)
    except (FileNotFoundError, NotADirectoryError):
        return
    for project in names:
        path = f"{projects}/{project}/{name}"
        try:  # not by `exists`: of 5,000 projects its calls take two fifths of the time
            posix.lstat(path)
        except OSError:
            continue
        yield path


def exists(path: str) -> bool:
    """Whether there is a file of any kind, or a link to nowhere."""
    try:
        posix.lstat(path)
    except OSError:
        return False
    return True


def _written(path: str) -> float:
    try:
        return posix.stat(path).st_mtime
    except OSError:
        return 0.0


def resumable(path: str) -> "stat_result | None":
    """The file's status, if it is there and holds a message that claude can read.

    Raises OSError where it cannot be read.
    """
    try:
        # Not to wait for a writer, should it be a FIFO.
        file = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return None
    status = posix.fstat(file)
    if not files.is_regular(status):
        posix.close(file)
        return None
    with open(file, "rb") as content:
        if any(map(_looks_like_message, content)):
            return status
        from shim.claude import lines  # such a transcript is rare

        # Before claude's own file is moved aside, read it as claude does.
        content.seek(0)
        return status if any(map(lines.message, content)) else None


def _looks_like_message(line: bytes) -> bool:
    """Whether this is a whole line as claude itself writes messages."""
    return (
        any(mark in line for mark in _MESSAGES)
        and line.startswith(b"{")
        and line.rstrip().endswith(b"}")
        and b'"message":{' in line
        and b'"isSidechain":true' not in line
        # A line that was torn, and the next one glued to it.
        and not any(start in line[1:] for start in _LINE_STARTS)
    )
