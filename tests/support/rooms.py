"""What a world has in its store: mappings, conversations, and the claudes that are live on them."""

from __future__ import annotations

import json
import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base.session_key import SessionKey
from tests.support.children import child
from tests.support.locks import lock_of_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.recorder import World

U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
V = "7f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c12"
W = "7fffffff-58b1-4c53-9d1c-2b8a3f0e7c13"
THREE_DAYS = 3 * 86400.0 + 3600
"""Seconds since something was written, for "3 days ago", however long the test takes."""

Entry = dict[str, str]


def entry(session_id: str, last_used: str = "2026-01-02T03:04:05.123456789Z") -> Entry:
    """One entry of sessions.json."""
    return {"uuid": session_id, "last_used": last_used}


def store(world: World, mappings: dict[str, dict[str, Entry]]) -> None:
    """Write the world's sessions.json."""
    world.store.parent.mkdir(mode=0o700, exist_ok=True)
    world.store.write_text(json.dumps(mappings, indent=2, ensure_ascii=False))
    world.store.chmod(0o600)


def transcript(
    world: World, session_id: str, directory: str = "/home/ada/app", age: float = THREE_DAYS
) -> Path:
    """Write a conversation of a project, last written `age` seconds ago."""
    path = world.transcript(session_id, Path(directory))
    message = {"role": "user", "content": "Which word was it?"}
    line = {"type": "user", "cwd": directory, "message": message}
    path.write_text(json.dumps(line, separators=(",", ":")) + "\n")
    written = path.stat().st_mtime - age
    os.utime(path, (written, written))
    return path


def history(world: World) -> list[tuple[str, str, str]]:
    """The room, agent and session id of each line of history.jsonl."""
    lines = (world.store.parent / "history.jsonl").read_text().splitlines()
    return [(line["room"], line["agent"], line["uuid"]) for line in map(json.loads, lines)]


def files(world: World) -> dict[str, bytes]:
    """Everything that is in the store's directory."""
    return {path.name: path.read_bytes() for path in world.store.parent.glob("*")}


@contextmanager
def live(
    world: World, room: str, agent: str = "claude", is_long_running: bool = True
) -> Iterator[int]:
    """A claude that holds the lock of a room and agent; its pid."""
    directory = world.store.parent
    directory.mkdir(mode=0o700, exist_ok=True)
    key = SessionKey(os.fsencode(room), os.fsencode(agent))

    def acquire() -> None:
        assert lock_of_key(str(directory), key).try_acquire(is_long_running)

    with child(acquire) as pid:
        yield pid


def register(world: World, session_id: str) -> int:
    """Have claude's own registry say that we are a claude on the conversation; our pid."""
    registry = world.home / ".claude" / "sessions"
    registry.mkdir(parents=True, exist_ok=True)
    pid = os.getpid()
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    registered = {"pid": pid, "sessionId": session_id, "procStart": stat[19]}
    (registry / f"{pid}.json").write_text(json.dumps(registered))
    return pid


@contextmanager
def somebody(world: World, who: str, room: str, agent: str, session_id: str) -> Iterator[int]:
    """A claude that holds the lock, or an unmanaged one that is live on the conversation."""
    if who == "unmanaged":
        yield register(world, session_id)
    else:
        with live(world, room, agent) as pid:
            yield pid
