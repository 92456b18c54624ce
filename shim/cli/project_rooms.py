"""Claude's projects, and the rooms that an import makes of them."""

from __future__ import annotations

import os
import stat
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from shim.base import times
from shim.base.messages import warn
from shim.base.session_key import stored_key
from shim.claude import projects, summary, transcripts
from shim.cli import conversations, exchange, output
from shim.cli.exchange import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shim.locks.live_claudes import Presence
    from shim.store.document import Document


@dataclass(frozen=True)
class Project:
    """A project with a conversation that can be resumed."""

    directory: str
    """Its working directory, or claude's name for it where no transcript says."""
    latest: str
    """The session id of its most recent conversation."""
    written: float
    """When that one was last written, in seconds of the system's clock."""
    session_ids: frozenset[str]
    """All its conversations."""


def every() -> list[tuple[str, Project]]:
    """Every project with a conversation that can be resumed, each with a unique room name."""
    found = _found(projects.directories())
    return sorted(zip(_rooms([project.directory for project in found]), found, strict=True))


def in_directory(directory: str, room: str | None) -> tuple[str, Project]:
    """The project of a directory, with its room name. Raises ClickException if there is none."""
    where = os.path.realpath(directory)
    name = transcripts.project_name(where)
    longest = transcripts.LONGEST_PROJECT_NAME
    paths = [
        path
        for path in projects.directories()
        if os.path.basename(path)[:longest] == name[:longest]
    ]
    # Claude cuts the names of deep directories, so that several projects may match.
    found = [p for p in _found(paths) if len(paths) == 1 or p.directory == where]
    if not found:
        raise click.ClickException(
            f"{where} has no conversation that claude can resume: --from-projects --dry-run lists"
            " the projects that have"
        )
    return os.path.basename(where) if room is None else room, found[0]


def planned(
    mappings: Document,
    projects: Iterable[tuple[str, Project]],
    agent: str,
    replace: bool,
    is_beside_others: bool,
    presence: Presence,
) -> list[Change]:
    """The outcome for each project: a mapping to its most recent conversation.

    With `is_beside_others`, a project also gets one if another of its conversations has a room.
    """
    owners = {
        entry["uuid"]: stored_key(room, name)
        for room, entries in mappings.items()
        for name, entry in entries.items()
    }
    changes = []
    for room, project in projects:
        stamp = times.timestamp(int(project.written * 1_000_000_000)).decode()
        entry = {"uuid": project.latest, "last_used": stamp}
        known = mappings.get(room, {}).get(agent)
        had = [owners[session_id] for session_id in project.session_ids if session_id in owners]
        note = ""
        if known is not None and known["uuid"] == project.latest:
            action = exchange.UNCHANGED
        elif project.latest in owners:
            action, note = exchange.SKIPPED, f"{owners[project.latest]} has it already"
        elif had and not replace and not is_beside_others:
            action, note = exchange.SKIPPED, f"the project has {had[0]} already"
        elif known is not None and not replace:
            action, note = (
                exchange.SKIPPED,
                f"the room has {known['uuid']}: --replace replaces it",
            )
        elif known and (pid := presence.on(room, agent, known["uuid"])) is not None:
            action, note = exchange.LIVE, exchange.live_note(pid)
        else:
            action = exchange.ADDED if known is None else exchange.REPLACED
        changes.append(Change(room, agent, entry, known, action, note))
    return changes


def _found(paths: Sequence[str]) -> list[Project]:
    """The projects in these directories that have a conversation to resume."""
    found = []
    with output.progress(paths, len(paths), "Reading projects") as each:
        for path in each:
            project = _project(path)
            if project is not None:
                found.append(project)
    return found


def _project(path: str) -> Project | None:
    try:
        files = projects.transcripts_in(path)
    except OSError as problem:
        warn(f"{path} is left out: {problem.strerror}")
        return None
    written = {file: when for file in files if (when := _written(file)) is not None}
    by_age = sorted(written, key=lambda file: written[file], reverse=True)
    session_ids = [transcripts.session_id_of(file) for file in by_age]
    for file, session_id in zip(by_age, session_ids, strict=True):
        try:
            if conversations.is_resumable(session_id):
                seen = summary.read(file)
                directory = seen.directory or os.path.basename(path)
                return Project(directory, session_id, seen.written, frozenset(session_ids))
        except OSError as problem:
            warn(f"{file} is left out: {problem.strerror}")
    return None


def _written(path: str) -> float | None:
    """When a regular file was last written; None of anything else, such as a FIFO."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime if stat.S_ISREG(status.st_mode) else None


def _rooms(directories: Sequence[str]) -> list[str]:
    """A unique name for each directory: its last part, or as many parts as it takes."""
    tails = [_tails(directory) for directory in directories]
    counts = Counter(tail for own in tails for tail in own)
    return [next((tail for tail in own if counts[tail] == 1), own[-1]) for own in tails]


def _tails(directory: str) -> list[str]:
    parts = directory.strip("/").split("/")
    return ["/".join(parts[-count:]) or "/" for count in range(1, len(parts) + 1)]
