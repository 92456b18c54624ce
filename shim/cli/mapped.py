"""The facts about a mapping: its transcript, and the claudes that are live on it."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from shim.base import session_key, stamps
from shim.base.messages import warn
from shim.base.plain_text import printable
from shim.claude import projects, registry, summary, transcripts
from shim.cli.output import at_home, doubtful, good, iso
from shim.locks import live_claudes
from shim.opencode import titles
from shim.opencode.command_line import ROOM_PREFIX
from shim.retention import config_directories, pins, restoring
from shim.store import relocations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from shim.claude.summary import Summary
    from shim.store.document import Document

_NANOSECONDS = 1_000_000_000
# Names that are compared within a quarter of a second; of more than these, none is.
_COMPARED = 2000


class Mapping(NamedTuple):
    """A room and agent, and the session id that they have."""

    room: str
    agent: str
    session_id: str
    used: float
    """When it was last used, in seconds of the system's clock."""


def every(mappings: Document) -> list[Mapping]:
    """The mappings of a document, in its order."""
    return [
        Mapping(room, agent, entry["uuid"], seconds(entry["last_used"]))
        for room, entries in mappings.items()
        for agent, entry in entries.items()
    ]


def agent_of(agents: Collection[str]) -> str:
    """The default agent of a room: its only one, else `claude`."""
    return next(iter(agents)) if len(agents) == 1 else session_key.DEFAULT_AGENT


def in_room(mappings: Sequence[Mapping], room: str, agent: str | None) -> list[Mapping]:
    """The mappings of a room, and of an agent if given; else of its `claude`, if it has one.

    Raises ClickException if none match.
    """
    if not mappings:
        raise click.ClickException(
            "no room has a conversation yet: NSED_ROOM_ID=refactor claude starts one"
        )
    found = [mapping for mapping in mappings if mapping.room == room]
    if not found:
        close = close_to(room, {mapping.room for mapping in mappings})
        raise click.ClickException(
            f"there is no room {room!r}{close or ': see `claude-shim list`'}"
        )
    agents = [mapping.agent for mapping in found]
    if agent is None and session_key.DEFAULT_AGENT in agents:
        agent = session_key.DEFAULT_AGENT
    wanted = [mapping for mapping in found if agent in (None, mapping.agent)]
    if not wanted:
        there = ", ".join(map(repr, agents))
        raise click.ClickException(f"room {room!r} has no agent {agent!r}, only {there}")
    return wanted


def seconds(stamp: object) -> float:
    """A timestamp of the store's in seconds of the system's clock."""
    return (stamps.nanoseconds(stamp) or 0) / _NANOSECONDS


class Survey:
    """One look at a store: who is live on its mappings, and where the transcripts are."""

    def __init__(self, directory: str, session_ids: Iterable[str] = ()) -> None:
        self.directory = directory
        self.holders = _holders(directory)
        self.conversations = registry.conversations()
        self._presence = live_claudes.Presence(self.holders, self.conversations)
        self._session_ids = session_ids
        self._moves = relocations.known(directory)

    @cached_property
    def transcript_paths(self) -> dict[str, list[str]]:
        """The paths of transcripts by session id."""
        return projects.transcript_paths(set(self._session_ids))

    @cached_property
    def _known(self) -> set[str]:
        return pins.known(self.directory)

    @cached_property
    def _titles(self) -> dict[str, str]:
        return titles.by_room()

    def is_live(self, mapping: Mapping) -> bool:
        """Whether a claude is live for a mapping, with its lock or without."""
        pid = self._presence.on(mapping.room, mapping.agent, mapping.session_id)
        return pid is not None

    def claudes(self, mapping: Mapping) -> list[live_claudes.Claude]:
        """The claudes that are live for a mapping, the one with its lock first."""
        if not self.holders and not self.conversations:
            return []
        own = self.holders.for_key_and_conversation(mapping.room, mapping.agent, mapping.session_id)
        strange = live_claudes.unmanaged(own, mapping.session_id, self.conversations)
        return live_claudes.claudes(own, strange)

    def transcript(self, session_id: str) -> tuple[str, Summary] | None:
        """The path of a conversation's transcript, and a summary of it, or None.

        If this config directory has none, it is another one's; if claude has deleted it, it is the
        pinned one that the next call restores.
        """
        paths = self.transcript_paths.get(session_id, [])
        if not paths and session_id in self._known:
            paths = list(config_directories.paths_elsewhere(self.directory, session_id))
            if not paths and restoring.restore_target(self.directory, session_id):
                paths = [pins.path(self.directory, session_id)]
        seen = summary.best(paths)
        if seen is None or seen[1].directory is None or not self._moves:
            return seen
        here = relocations.here(seen[1].directory, self._moves)
        return seen[0], replace(seen[1], directory=here)

    def conversation(self, mapping: Mapping) -> tuple[str, Summary] | None:
        """The transcript of a mapping, and its summary with OpenCode's title if it has one."""
        seen = self.transcript(mapping.session_id)
        if seen is None or not mapping.room.startswith(ROOM_PREFIX):
            return seen
        title = self._titles.get(mapping.room, seen[1].title)
        return seen[0], replace(seen[1], title=title)

    def has_any(self, mapping: Mapping) -> bool:
        """Whether there is a conversation, or a claude that is about to begin one."""
        own = mapping.session_id
        if own in self.transcript_paths or self.is_live(mapping):
            return True
        return own in self._known and (
            pins.is_pinned(self.directory, own)
            or any(config_directories.paths_elsewhere(self.directory, own))
        )

    def is_pinned(self, path: str) -> bool:
        """Whether a transcript is a pinned one that the next call restores."""
        return path.startswith(f"{self.directory}/{pins.FOLDER}/")


def _holders(directory: str) -> live_claudes.HeldLocks:
    try:
        return live_claudes.held_locks(directory)
    except OSError as problem:
        warn(f"cannot read the locks in {directory}, so who is live is unknown: {problem.strerror}")
        return live_claudes.HeldLocks({})


def as_json(
    mapping: Mapping, claudes: list[live_claudes.Claude], transcript: tuple[str, Summary] | None
) -> dict[str, Any]:
    """A mapping and the facts about it, for programs."""
    path, seen = transcript or (None, None)
    return {
        "room": mapping.room,
        "agent": mapping.agent,
        "session_id": mapping.session_id,
        "last_used": iso(mapping.used),
        "live": bool(claudes),
        "claudes": [claude_as_json(claude) for claude in claudes],
        "transcript": path,
        "turns": seen and seen.turns,
        "turns_are_exact": seen and seen.is_exact,
        "size": seen and seen.size,
        "project": seen and seen.directory,
        "about": seen and seen.about,
        "api_error": seen and seen.api_error,
        "account": path and foreign_directory(path),
    }


def claude_as_json(claude: live_claudes.Claude) -> dict[str, Any]:
    """A claude that runs, for programs."""
    process = claude.process
    return {
        "pid": claude.pid,
        "kind": claude.kind,
        "stranger": claude.is_unmanaged,
        "forked_from": _parent(claude),
        "since": process and iso(process.since),
        "memory": process and process.memory,
        "directory": process and process.directory,
        "waiting": list(claude.waiting),
    }


def kind(claude: live_claudes.Claude) -> str:
    """How a claude runs, for people."""
    shown = claude.kind or "?"
    if not claude.is_unmanaged:
        return good(shown)
    return doubtful(f"{shown}, {'fork' if _parent(claude) else 'unmanaged'}")


def _parent(claude: live_claudes.Claude) -> str | None:
    return claude.process.forked_from if claude.process else None


def about(seen: Summary) -> str:
    """What a conversation is about, as one line."""
    return printable(seen.about or "-")


def turns(seen: Summary) -> str:
    """How many turns a conversation has; `~` before an estimate."""
    return f"{seen.turns:,}" if seen.is_exact else f"~{seen.turns:,}"


def project(transcript: tuple[str, Summary] | None, is_live: bool) -> str:
    """The directory of a conversation, or why it is unknown."""
    if transcript is None:
        return "no transcript yet" if is_live else "no transcript"
    path, seen = transcript
    where = at_home(seen.directory) if seen.directory else path.split("/")[-2]
    other = foreign_directory(path)
    return f"{where} (in {at_home(other)})" if other else where


def foreign_directory(path: str) -> str | None:
    """The config directory that a transcript is in, where that is not the current one."""
    is_transcript = os.path.basename(os.path.dirname(os.path.dirname(path))) == "projects"
    is_other = is_transcript and config_directories.is_foreign(path)
    return transcripts.config_directory_of(path) if is_other else None


def close_to(name: str, names: Iterable[str]) -> str:
    """The end of a message that suggests similar names, or an empty string."""
    import difflib

    known = list(names)
    close = difflib.get_close_matches(name, known, n=3) if len(known) <= _COMPARED else []
    return f": did you mean {' or '.join(repr(other) for other in close)}?" if close else ""
