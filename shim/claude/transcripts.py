"""Transcripts on disk: where a conversation is, and whether claude can resume it."""

import posix
import time

from shim.base import environment, files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from os import stat_result
    from typing import Any

# A transcript without either is one that claude refuses to resume and to start (FACTS.md).
_MESSAGES = (b'"type":"user"', b'"type":"assistant"')
_LINE_STARTS = (b'{"parentUuid":', b'{"type":"queue-operation"')
# Claude cuts longer project names and appends a hash of its own (FACTS.md).
LONGEST_PROJECT_NAME = 200


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


def project_name(directory: str) -> str:
    """Claude Code's name for a working directory.

    Every character outside `[a-zA-Z0-9]` is a `-`, and JavaScript counts one beyond U+FFFF as two.
    """
    return "".join(
        char if char.isascii() and char.isalnum() else "-" if ord(char) < 0x10000 else "--"
        for char in directory
    )


def exports(environ: "Mapping[bytes, bytes]") -> dict[str, bytes]:
    """What has claude write each turn, and before its answer is seen.

    2.1.197 writes a turn some 100 ms after its answer otherwise, and any interactive claude that
    inherits another's mark writes none at all (FACTS.md, "Inherited markers"; FLEET.md).
    """
    needed = {"CLAUDE_CODE_EAGER_FLUSH": b"1"}
    if environ.get(b"CLAUDE_CODE_CHILD_SESSION"):
        needed["CLAUDE_CODE_FORCE_SESSION_PERSISTENCE"] = b"1"
    return needed


def find(session_id: str) -> tuple[Transcript | None, list[str]]:
    """The transcript to resume, and the paths that stand in the way of starting afresh.

    This directory's project comes first, then the most recently written. What holds no message
    can be neither resumed nor, in this project, started: it stands in the way, and is named only
    where nothing can be resumed. Raises OSError where a transcript cannot be read.
    """
    projects = projects_directory()
    here = _this_project(projects)
    name = session_id + ".jsonl"
    if here is not None:
        path = f"{here}/{name}"
        status = resumable(path)
        if status is not None:
            return Transcript(path, True, status), []
    unusable = []
    for path in sorted(copies(projects, name), key=_written, reverse=True):
        status = resumable(path)
        if status is not None:
            return Transcript(path, path == f"{here}/{name}", status), []
        unusable.append(path)
    return None, unusable


def is_here(path: str) -> bool:
    """Whether a transcript's path is in this directory's project."""
    return path.rpartition("/")[0] == _this_project(projects_directory())


def set_aside(path: str) -> str:
    """Rename a transcript that holds no message, and return its new path. Raises OSError."""
    aside = f"{path}.unusable-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    while exists(aside):
        aside += "-"
    posix.rename(path, aside)
    return aside


def _this_project(projects: str) -> str | None:
    try:
        name = project_name(posix.getcwd())
    except OSError:
        return None  # the working directory is gone
    return f"{projects}/{name}" if len(name) <= LONGEST_PROJECT_NAME else None


def copies(projects: str, name: str) -> "Iterator[str]":
    """The paths of a file of that name in whichever projects. Raises OSError."""
    try:
        names = posix.listdir(projects)
    except (FileNotFoundError, NotADirectoryError):
        return
    for project in names:
        path = f"{projects}/{project}/{name}"
        if exists(path):
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
    with open(file, "rb") as lines:
        if any(map(_looks_like_message, lines)):
            return status
        # Before claude's own file is moved aside, read it as claude does.
        lines.seek(0)
        return status if any(map(message, lines)) else None


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


def message(line: bytes) -> "dict[str, Any] | None":
    """The entry of a transcript's line, if it is a message of the conversation itself."""
    import json

    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    is_message = (
        isinstance(entry, dict)
        and entry.get("type") in ("user", "assistant")
        and isinstance(entry.get("message"), dict)
        and not entry.get("isSidechain")
    )
    return entry if is_message else None
