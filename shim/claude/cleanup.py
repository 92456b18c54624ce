"""Claude Code's own clean-up: how many idle days before claude deletes a transcript.

Any claude that lives for some seconds deletes transcripts of all projects by its own settings,
those of its working directory included. A period must be a whole number of days from 1 on; claude
ignores any other (help facts, "Clean-up"; the settings measured on 2.1.330).
"""

from __future__ import annotations

import functools
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shim.base.json_object import json_object
from shim.claude import transcripts

if TYPE_CHECKING:
    from collections.abc import Iterator

DEFAULT = 30
"""Days, without settings."""

_SHORTEST = 1
_MANAGED = (
    "/etc/claude-code/managed-settings.json",
    "/Library/Application Support/ClaudeCode/managed-settings.json",
)


def period(transcript: str) -> int:
    """The shortest clean-up period, in days, of the claudes that may delete a transcript.

    `transcript` is its path in a config directory. Settings that a claude gets on its command line
    are unknown.
    """
    config = Path(transcript).parents[2]
    return min([_general(config), *_of_projects(config)])


def took(idle: float, transcript: str, kept: str) -> bool:
    """Whether claude's clean-up may have deleted a transcript that had been idle for so many days.

    `kept` is the kept file, in which its project is named. Settings are read only where they
    decide.
    """
    config = Path(transcript).parents[2]
    if idle < _SHORTEST:
        return False
    if idle >= _general(config):
        return True
    own = _in_directory(_working_directory(Path(kept)))
    return any(idle >= days for days in (*own, *_of_projects(config)))


@functools.cache
def _general(config: Path) -> int:
    """The period of claudes without settings of their project."""
    everywhere = [_days(path) for path in (*_MANAGED, config / "settings.json")]
    return min(filter(None, everywhere), default=DEFAULT)


@functools.cache
def _of_projects(config: Path) -> tuple[int, ...]:
    """The periods in the settings of projects."""
    directories = {Path(), *_working_directories(config)}
    return tuple(days for directory in directories for days in _in_directory(directory))


def _working_directories(config: Path) -> Iterator[Path]:
    """Where claude was used: `.claude.json` lists interactive runs, transcripts name the others."""
    for path in (config / ".claude.json", config.parent / ".claude.json"):
        projects = _json(path).get("projects")
        yield from map(Path, projects if isinstance(projects, dict) else ())
    for project in config.glob("projects/*"):
        transcript = next(project.glob(f"*{transcripts.ENDING}"), None)
        if transcript is not None:
            yield _working_directory(transcript)


def _working_directory(transcript: Path) -> Path:
    """The first working directory that a transcript names, else the current one."""
    for line in _content(transcript).splitlines():
        if b'"cwd":' in line and isinstance(named := json_object(line).get("cwd"), str):
            return Path(named)
    return Path()


def _in_directory(directory: Path) -> list[int]:
    names = ("settings.json", "settings.local.json")
    return [days for name in names if (days := _days(directory / ".claude" / name))]


def _days(settings: str | Path) -> int | None:
    days = _json(settings).get("cleanupPeriodDays")
    return days if type(days) is int and days > 0 else None


def _json(path: str | Path) -> dict[str, Any]:
    return json_object(_content(path))


def _content(path: str | Path) -> bytes:
    """The first megabyte of a regular file; empty if it cannot be read."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (OSError, ValueError):
        return b""
    try:
        return os.read(file, 1 << 20) if stat.S_ISREG(os.fstat(file).st_mode) else b""
    except OSError:
        return b""
    finally:
        os.close(file)
