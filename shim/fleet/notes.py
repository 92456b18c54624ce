"""What a sync daemon remembers of a conversation, to read less of its log the next time.

A note is a cache but for two things: that something is to be done yet (`behind`, `moves`,
`is_fork`), and under which session id this host's own turns are kept (`fork`), since another host
had the conversation.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, dataclass, field, fields

from shim.base import files, times
from shim.base.session_key import is_session_id
from shim.fleet.synced_offset import SyncedOffset

DIRECTORY = "fleet"
_ENDING = ".json"
# Beside a note, an empty file: that something is to be done by it.
_DUE = ".due"
_KEPT = 90 * times.DAY


@dataclass
class Note:
    """What is remembered of a conversation."""

    session_id: str
    room: str = ""
    agent: str = ""
    transcript: str = ""
    sequence: int = 0
    """That of the last record of its log, up to which the files are as `tails` says."""
    stream: str = ""
    """Where that log is."""
    tails: dict[str, SyncedOffset] = field(default_factory=dict)
    fork: str | None = None
    behind: bool = False
    answered: int = 0
    """Where in the transcript the answer ends that was waited for last."""
    moves: bool = False
    """Whether its room has moved to it, and the fleet has not heard of that yet."""
    is_fork: bool = False
    """Whether its room has it as an earlier one, and the fleet has not heard of that yet."""
    claudes: dict[str, tuple[str, float | None]] = field(default_factory=dict)
    """Those that lived on it when their sync daemon ended: by pid, how each runs, and its birth."""
    count: int = 0
    """About how many records its log has."""


def directory(store: str) -> str:
    """Where the notes of a store are; it is made. Raises Failure."""
    path = f"{store}/{DIRECTORY}"
    files.make_directory(path)
    return path


def is_due(note: Note) -> bool:
    """Whether something is to be done yet."""
    has_claudes = len(note.claudes) > 0
    return note.behind or note.moves or note.is_fork or note.fork is not None or has_claudes


def read(where: str, session_id: str) -> Note:
    """The note of a conversation, or a new one."""
    try:
        with open(f"{where}/{session_id}{_ENDING}", "rb") as file:
            content = json.load(file)
        tails = {str(name): SyncedOffset(**tail) for name, tail in content.pop("tails").items()}
        known = {each.name for each in fields(Note)}
        note = Note(**{name: it for name, it in content.items() if name in known})
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return Note(session_id)
    note.tails = tails
    return note


def write(where: str, note: Note) -> None:
    """Keep a note. Raises OSError."""
    path = f"{where}/{note.session_id}"
    if is_due(note):
        # Before: a kill in between leaves a note that is looked at in vain.
        os.close(os.open(path + _DUE, os.O_WRONLY | os.O_CREAT, 0o600))
    with open(path + ".new", "w", encoding="ascii") as file:
        json.dump(asdict(note), file)
    os.replace(path + ".new", path + _ENDING)
    if not is_due(note):
        _remove(path + _DUE)


def drop(where: str, session_id: str) -> None:
    """Forget a conversation. Raises OSError."""
    for ending in (_ENDING, _DUE):
        _remove(f"{where}/{session_id}{ending}")


def due(where: str) -> list[Note]:
    """The notes by which something is to be done yet. Raises OSError."""
    names = [name.removesuffix(_DUE) for name in os.listdir(where) if name.endswith(_DUE)]
    return [note for name in names if is_due(note := read(where, name))]


def tidy(where: str) -> None:
    """Drop the notes that nobody has written for long, and that are but a cache. Raises OSError."""
    oldest = time.time() - _KEPT
    for name in os.listdir(where):
        session_id = name.removesuffix(_ENDING)
        if not name.endswith(_ENDING) or not is_session_id(session_id):
            continue
        is_old = os.stat(f"{where}/{name}").st_mtime < oldest
        if is_old and not is_due(read(where, session_id)):
            drop(where, session_id)


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
