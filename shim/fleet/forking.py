"""Moving this host's file of a conversation to a session id of its own: the log's version stays.

The content is untouched: claude resumes a transcript by the name of its file (help facts,
"Which conversation").
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from shim.base import times
from shim.base.messages import explain
from shim.claude import transcripts
from shim.forks import fork_marker
from shim.forks.fork_marker import Marker
from shim.retention import restoring
from shim.store import history
from shim.store.store import Store

if TYPE_CHECKING:
    from shim.fleet.notes import Note

_CUT_OFF = "a claude that ran without the fleet"


def move(store: str, room: str, agent: str, transcript: str, fork: str) -> str | None:
    """Rename a transcript to another session id, and return where it is then, if there is one.

    It is kept under that one, and is an earlier head of its room. What a killed sync daemon began
    is completed. Raises OSError.
    """
    session_id = transcripts.session_id_of(transcript)
    moved = f"{os.path.dirname(transcript)}/{fork}{transcripts.ENDING}"
    if not os.path.exists(transcript) and not os.path.exists(moved):
        return None
    if os.path.isdir(transcripts.sidecars_of(transcript)):
        # As copies: the log's version has its own from then on.
        shutil.copytree(
            transcripts.sidecars_of(transcript), transcripts.sidecars_of(moved), dirs_exist_ok=True
        )
    if not os.path.exists(moved):
        os.rename(transcript, moved)
    _keep(store, session_id, fork, moved)
    if room or agent:
        _remember(store, room, agent, fork)
    return moved


def mark(store: str, note: Note, path: str, by: str = _CUT_OFF) -> None:
    """Mark a conversation of this host as a fork of its head, for calls to find it.

    `path` is its transcript, if there is one, and `by` is who began it. Raises OSError, Failure.
    """
    if not note.fork_of or not os.path.exists(path):
        return
    marker = fork_marker.of_fork(store, note.session_id)
    if marker is None:
        fork_marker.begin(store, Marker(note.session_id, note.fork_of, by, path))
    elif marker.is_over and os.stat(path).st_size != marker.fork_read.size:
        fork_marker.update(store, note.session_id, _reopen)


def _reopen(marker: Marker) -> None:
    marker.is_over = False


def _keep(store: str, session_id: str, fork: str, moved: str) -> None:
    """Keep it under its new session id, and no longer under the old one."""
    try:
        os.makedirs(f"{store}/kept", mode=0o700, exist_ok=True)
        with restoring.locked(store):
            restoring.update_pin(store, fork, moved)
            restoring.drop(store, session_id)
    except OSError as problem:
        explain(f"conversation {fork} is not kept: {problem}")


def _remember(store: str, room: str, agent: str, fork: str) -> None:
    """Note it as an earlier head of its room."""
    entry = {"uuid": fork, "last_used": times.now()}
    mappings = Store(store)
    known = [head.get("uuid") for head in history.earlier(store, room, agent)]
    if fork not in known:
        mappings.locked(lambda _: history.remember(store, room, agent, entry), create=True)
