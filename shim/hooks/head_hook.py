"""The hook that moves the head as a person moves to another conversation.

Claude Code runs it before and after each turn, at each end of a conversation and, on a terminal, at
each start of one, with the event on stdin (help facts, "Hooks"). What it prints would enter
the conversation, so it prints nothing.
"""

import posix
import sys

from shim.base import environment
from shim.base.session_key import is_session_id
from shim.hooks import hook_owner
from shim.store import markers
from shim.store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

# Bytes of an event that are read; a prompt may be long, but there is an end to it.
_LONGEST = 1 << 26
_STOP = b'"Stop"'
_NO_TURNS = (b"SessionStart", b"SessionEnd")
_AT_TERMINALS = "interactive"


def main() -> "NoReturn":
    """Follow one event, and exit 0 whatever happens."""
    sys.stderr = None
    try:
        with open(0, "rb", closefd=False) as stdin:
            follow(stdin.read(_LONGEST))
    finally:
        posix._exit(0)


def follow(data: bytes) -> None:
    """Map the room and agent to the conversation of the event, where a person moved to it.

    After a turn, note whether background tasks run on. Raises ValueError for what is no JSON,
    OSError and Failure where nothing can be recorded.
    """
    session_id = _session_id(data)
    owner = hook_owner.owner()
    if owner is None or session_id is None:
        return
    store, key = Store(owner[0]), owner[1]
    if _STOP in data and _parsed(data).get("hook_event_name") == "Stop":
        markers.note_tasks(store.directory, session_id, _has_tasks(_parsed(data)))
        return
    head = store.recall(key.room, key.agent)
    # Most events are of the head, and no more of them is needed. What begins or ends at a terminal
    # may be a conversation that is left to the background.
    at_terminal = hook_owner.plugin_root().endswith(_AT_TERMINALS)
    may_leave_head = at_terminal and any(map(data.__contains__, _NO_TURNS))
    if head == session_id and not may_leave_head:
        return
    from shim.hooks import head_moves

    moved = head_moves.follow(_parsed(data), store, key, head)
    if moved is not None and environment.get("NSED_FLEET_URL"):
        from shim.hooks import flush_hook

        flush_hook.tell_of_head(data, session_id, moved, *owner)


def _has_tasks(event: "dict[str, Any]") -> bool:
    """Whether background tasks run on after a turn: claude makes another one as they end."""
    tasks = event.get("background_tasks")
    return isinstance(tasks, list) and any(
        isinstance(task, dict) and task.get("status") == "running" for task in tasks
    )


def _session_id(data: bytes) -> str | None:
    """The session id of an event, or None where it names none that claude accepts."""
    named = _parsed(data).get("session_id")
    return named if isinstance(named, str) and is_session_id(named) else None


def _parsed(data: bytes) -> "dict[str, Any]":
    import json

    event = json.loads(data)
    return event if isinstance(event, dict) else {}
