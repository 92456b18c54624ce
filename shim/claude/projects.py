"""Claude's projects: one directory each, with the transcripts of its conversations."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shim.base.session_key import is_session_id
from shim.claude import transcripts

if TYPE_CHECKING:
    from collections.abc import Set


def transcripts_in(project: str) -> list[str]:
    """The transcripts in a directory. Raises OSError if it cannot be read."""
    return [
        f"{project}/{name}"
        for name in os.listdir(project)
        if name.endswith(transcripts.ENDING) and is_session_id(transcripts.session_id_of(name))
    ]


def directories() -> list[str]:
    """The directories of claude's projects. Raises OSError if they cannot be read."""
    try:
        with os.scandir(transcripts.projects_directory()) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def transcript_paths(session_ids: Set[str]) -> dict[str, list[str]]:
    """The paths of these conversations' transcripts, found by one scan of all projects.

    If a conversation is in several projects, the last written comes first.
    """
    found: dict[str, list[str]] = {}
    projects = transcripts.projects_directory()
    for project in _names(projects):
        for name in _names(f"{projects}/{project}"):
            session_id = transcripts.session_id_of(name)
            if name.endswith(transcripts.ENDING) and session_id in session_ids:
                found.setdefault(session_id, []).append(f"{projects}/{project}/{name}")
    for paths in found.values():
        if len(paths) > 1:
            paths.sort(key=_written, reverse=True)
    return found


def last_written(session_ids: Set[str]) -> dict[str, int]:
    """When these conversations were last written to, in nanoseconds since the epoch."""
    return {
        session_id: int(_written(paths[0]) * 1e9)
        for session_id, paths in transcript_paths(session_ids).items()
    }


def belongings(config: str, session_id: str) -> list[str]:
    """What a configuration directory of claude's has of one conversation.

    That is its transcripts, what was moved aside of them, what stands beside them, and what other
    directories have under its id, such as versions of edited files.
    """
    elsewhere = [f"{config}/{name}" for name in _names(config)]
    within = [f"{config}/projects/{name}" for name in _names(f"{config}/projects")]
    return [path for where in (*within, *elsewhere) for path in named_after(where, session_id)]


def named_after(directory: str, session_id: str) -> list[str]:
    """The paths in a directory whose names begin with the session id."""
    return [f"{directory}/{name}" for name in _names(directory) if name.startswith(session_id)]


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError:
        return []  # no directory, or one that may not be read


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0
