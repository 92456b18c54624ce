"""Claude Code's own clean-up: for how long a transcript may be idle before claude deletes it.

Any claude that lives for some seconds deletes transcripts of all projects by its own settings,
those of its working directory among them; what is no whole number of days from 1 on is no setting
(FACTS.md, "clean-up"; of the settings, measured on 2.1.330).
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

DEFAULT = 30
"""Days, where no settings say otherwise."""

_MANAGED = (
    "/etc/claude-code/managed-settings.json",
    "/Library/Application Support/ClaudeCode/managed-settings.json",
)


def period(transcript: str) -> int:
    """The smallest clean-up period, in days, of the claudes that may have cleaned a transcript up.

    `transcript` is its path in claude's configuration directory. Settings given to a single claude
    on its command line are not known.
    """
    return _period(Path(transcript).parents[2])


@functools.cache
def _period(config: Path) -> int:
    general = [_days(path) for path in (*_MANAGED, config / "settings.json")]
    of_projects = [
        _days(directory / ".claude" / name)
        for directory in _project_directories(config)
        for name in ("settings.json", "settings.local.json")
    ]
    # Where no general settings say otherwise, most claudes have the default.
    everywhere = [*filter(None, general)] or [DEFAULT]
    return min([*everywhere, *filter(None, of_projects)])


def _project_directories(config: Path) -> list[Path]:
    """The working directories that claude has been used in, and this one."""
    directories = [Path()]
    for path in (config / ".claude.json", config.parent / ".claude.json"):
        projects = _json(path).get("projects")
        directories += map(Path, projects if isinstance(projects, dict) else ())
    return directories


def _days(settings: str | Path) -> int | None:
    days = _json(settings).get("cleanupPeriodDays")
    return days if type(days) is int and days > 0 else None


def _json(path: str | Path) -> dict[str, Any]:
    try:
        content = json.loads(Path(path).read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
