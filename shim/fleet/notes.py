"""What the sync daemon notes of each conversation, in one file that is replaced at once.

Most of a note is a cache, to read less of the log next time. The rest tells the next daemon what
this one may not finish: the state of the conversation here, and what this host owes the fleet.
"""

from __future__ import annotations

import enum
import json
import os
import time
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from shim.base import files, times
from shim.base.session_key import is_session_id
from shim.fleet.synced_offset import SyncedOffset

DIRECTORY = "fleet"
_ENDING = ".json"
# An empty file beside a note that tells a daemon to look at it when it starts.
_DUE = ".due"
_KEPT = 90 * times.DAY
# The names that fields have in the files, where 0.2 has called them something else.
_STORED_AS = {"synced": "tails", "owes_data": "behind", "owes_move": "moves"}


class State(enum.Enum):
    """What a conversation is on this host."""

    FREE = "free"
    """No lease of this host counts: other hosts may acquire one."""
    OURS = "ours"
    """Our lease is the last one, and we have sent no release behind it."""
    FENCED = "fenced"
    """Another host has the lease while a claude lives here, whose turns go into a fork."""


class ForkState(enum.Enum):
    """How far a fork is that this host owes to the fleet."""

    NOTED = "noted"
    """Its session id is fixed; its log is incomplete."""
    STORED = "stored"
    """The servers have acknowledged all of its file."""
    LISTED = "listed"
    """Its room's entry lists it, so every host can find it."""
    OVER = "over"
    """The head has all of its turns."""


NEXT_STATES = {
    State.FREE: {State.OURS, State.FENCED},
    State.OURS: {State.FREE, State.FENCED},
    State.FENCED: {State.FREE},
}


@dataclass
class Note:
    """What is known of a conversation."""

    session_id: str
    room: str = ""
    agent: str = ""
    transcript: str = ""
    sequence: int = 0
    """The sequence of the last record that the files here include, up to `synced`."""
    stream: str = ""
    """Where that log is stored."""
    synced: dict[str, SyncedOffset] = field(default_factory=dict)
    state: State = State.FREE
    fork: str | None = None
    """The session id of the fork that gets the turns of this host, where another host has the
    lease."""
    fork_state: ForkState | None = None
    """Set where this conversation is itself a fork."""
    fork_of: str = ""
    """The head that it is a fork of."""
    listed: int = 0
    """The sequence in the fork's log up to which the room lists it."""
    owes_data: bool = False
    """Whether the log lacks a part of the files."""
    owes_move: bool = False
    """Whether the room has moved to this conversation, and the fleet does not know yet."""
    owes_head: bool = False
    """Whether the room began here without the fleet, which may know no head of it."""
    answered: int = 0
    """The offset behind the answer in the transcript that was last waited for."""
    claudes: dict[str, tuple[str, float | None]] = field(default_factory=dict)
    """The claudes that live on it: by pid, how each runs, and when it started."""
    count: int = 0
    """About how many records its log has."""

    @property
    def owes(self) -> bool:
        """Whether this host has something to send."""
        is_open = self.fork_state in (ForkState.NOTED, ForkState.STORED)
        return self.owes_data or self.owes_move or self.owes_head or is_open

    @property
    def is_unfinished(self) -> bool:
        """Whether a daemon has something to do for it."""
        return self.owes or self.state is not State.FREE or bool(self.claudes or self.fork)

    @property
    def is_due(self) -> bool:
        """Whether a daemon has to look at it when it starts."""
        return self.is_unfinished or self.fork_state is ForkState.LISTED


def directory(store: str) -> str:
    """The directory of a store's notes, which is made. Raises Failure."""
    path = f"{store}/{DIRECTORY}"
    files.make_directory(path)
    return path


def read(where: str, session_id: str) -> Note:
    """The note of a conversation, or a new one."""
    try:
        with open(f"{where}/{session_id}{_ENDING}", "rb") as file:
            return _parsed(json.load(file))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Note(session_id)


def write(where: str, note: Note) -> None:
    """Replace a note. Raises OSError."""
    path = f"{where}/{note.session_id}"
    if note.is_due:
        # Before the note: a kill in between leaves a note that is looked at in vain.
        os.close(os.open(path + _DUE, os.O_WRONLY | os.O_CREAT, 0o600))
    with open(path + ".new", "w", encoding="ascii") as file:
        json.dump(_as_json(note), file)
    os.replace(path + ".new", path + _ENDING)
    if not note.is_due:
        _remove(path + _DUE)


def drop(where: str, session_id: str) -> None:
    """Delete the note of a conversation. Raises OSError."""
    for ending in (_ENDING, _DUE):
        _remove(f"{where}/{session_id}{ending}")


def due(where: str) -> list[Note]:
    """The notes that a daemon has to look at when it starts. Raises OSError."""
    names = [name.removesuffix(_DUE) for name in os.listdir(where) if name.endswith(_DUE)]
    return [note for name in names if (note := read(where, name)).is_due]


def tidy(where: str) -> None:
    """Delete notes that are a mere cache and were not written for long. Raises OSError."""
    oldest = time.time() - _KEPT
    for name in os.listdir(where):
        session_id = name.removesuffix(_ENDING)
        if not name.endswith(_ENDING) or not is_session_id(session_id):
            continue
        is_old = os.stat(f"{where}/{name}").st_mtime < oldest
        if is_old and not read(where, session_id).is_due:
            drop(where, session_id)


def _as_json(note: Note) -> dict[str, Any]:
    content = {_STORED_AS.get(name, name): value for name, value in asdict(note).items()}
    content["state"] = note.state.value
    content["fork_state"] = note.fork_state and note.fork_state.value
    return content


def _parsed(content: dict[str, Any]) -> Note:
    """Raises ValueError, TypeError, KeyError, AttributeError."""
    names = {each.name: _STORED_AS.get(each.name, each.name) for each in fields(Note)}
    note = Note(**{name: content[stored] for name, stored in names.items() if stored in content})
    note.synced = {str(name): SyncedOffset(**it) for name, it in content["tails"].items()}
    note.state = State(content.get("state", "free"))
    fork_state = content.get("fork_state")
    note.fork_state = ForkState(fork_state) if fork_state else None
    if content.get("is_fork"):  # as 0.2 has noted it
        note.fork_state = ForkState.NOTED
    return note


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
