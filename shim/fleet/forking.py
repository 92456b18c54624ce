"""Moving this host's file of a conversation to a session id of its own: the log's version stays.

The content is untouched: claude resumes a transcript by the name of its file (help facts,
"Which conversation").
"""

from __future__ import annotations

import os
import shutil

from shim.base import times
from shim.base.messages import explain
from shim.claude import transcripts
from shim.retention import restoring
from shim.store import history
from shim.store.store import Store


def move(store: str, room: str, agent: str, transcript: str, fork: str) -> str | None:
    """Rename a transcript to another session id, and return where it is then, if there is one.

    It is kept under that one, and is an earlier head of its room. What a killed sync daemon has
    begun is brought to its end. Raises OSError.
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
