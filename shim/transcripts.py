"""Transcripts on disk: where a conversation is, and whether claude can resume it."""

import os
import stat
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 1 << 16
# A transcript without either is one that claude refuses to resume and to start (FACTS.md).
_MESSAGES = (b'"type":"user"', b'"type":"assistant"')
_LONGEST_MARK = max(map(len, _MESSAGES))
# Claude cuts longer project names and appends a hash of its own (FACTS.md).
_LONGEST_PROJECT_NAME = 200


class Transcript:
    """The transcript of a conversation that can be resumed."""

    __slots__ = ("is_here", "path")

    def __init__(self, path: str, is_here: bool) -> None:
        self.path = path
        self.is_here = is_here


def projects_directory() -> str:
    """Claude Code's directory of transcripts, one directory a project."""
    config = os.environ.get("CLAUDE_CONFIG_DIR") or os.path.expanduser("~/.claude")
    return os.path.join(config, "projects")


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
    here = _this_project(projects)
    name = session_id + ".jsonl"
    if here is not None:
        path = os.path.join(here, name)
        if _is_resumable(path):
            return Transcript(path, is_here=True), []
    unusable = []
    for path in sorted(_copies(projects, name), key=_written, reverse=True):
        if _is_resumable(path):
            return Transcript(path, is_here=os.path.dirname(path) == here), []
        unusable.append(path)
    return None, unusable


def set_aside(path: str) -> str:
    """Rename a transcript that holds no message, and return its new path. Raises OSError."""
    aside = f"{path}.unusable-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    while os.path.lexists(aside):
        aside += "-"
    os.rename(path, aside)
    return aside


def _this_project(projects: str) -> str | None:
    try:
        name = project_name(os.getcwd())
    except OSError:
        return None  # the working directory is gone
    return os.path.join(projects, name) if len(name) <= _LONGEST_PROJECT_NAME else None


def _copies(projects: str, name: str) -> "Iterator[str]":
    try:
        names = os.listdir(projects)
    except (FileNotFoundError, NotADirectoryError):
        return
    for project in names:
        path = os.path.join(projects, project, name)
        if os.path.lexists(path):
            yield path


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def _is_resumable(path: str) -> bool:
    """Whether the file is there and holds a message."""
    try:
        # Not to wait for a writer, should it be a FIFO.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except FileNotFoundError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            return False
        tail = b""
        while chunk := os.read(file, _CHUNK):
            text = tail + chunk
            if any(mark in text for mark in _MESSAGES):
                return True
            tail = text[-_LONGEST_MARK:]
        return False
    finally:
        os.close(file)
