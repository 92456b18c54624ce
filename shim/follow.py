"""The hook that moves the head with the conversation: what claude is on is what goes on next.

Claude Code runs it before each turn and at each end of a conversation, with an account of it on
stdin (FACTS.md, "hooks"). What it prints would enter the conversation, so it prints nothing.
"""

import posix
import sys

from shim import environment, identity
from shim.store import Store, directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from shim.identity import SessionKey

# Bytes of an account that are read; a prompt may be long, but there is an end to it.
_LONGEST = 1 << 26


def main() -> "NoReturn":
    """Follow one event, and exit 0 whatever happens."""
    sys.stderr = None
    try:
        with open(0, "rb", closefd=False) as stdin:
            follow(stdin.read(_LONGEST))
    finally:
        posix._exit(0)


def follow(account: bytes) -> None:
    """Map the exported room and agent to the conversation of the event, where that is the head.

    It is where a turn begins in it, and where the user leaves it without a turn, having come to it
    by `/clear` or `/resume`. Raises ValueError for what is no JSON, StoreError where nothing can be
    recorded.
    """
    import json

    event = json.loads(account)
    key = identity.resolve(posix.environ, None)
    session_id = event.get("session_id") if isinstance(event, dict) else None
    if key is None or not isinstance(session_id, str) or not identity.is_session_id(session_id):
        return
    store = Store(directory())
    if store.recall(key.room, key.agent) == session_id:
        return
    if event.get("hook_event_name") == "UserPromptSubmit" or _was_come_to(event, store, key):
        store.record(key.room, key.agent, session_id)


def _was_come_to(event: "dict[str, Any]", store: Store, key: "SessionKey") -> bool:
    """Whether the event ends a conversation without a turn that this claude was not started on.

    A turn would have made it the head, and by now an earlier one.
    """
    if event.get("hook_event_name") != "SessionEnd" or event.get("reason") == "clear":
        return False
    from shim import history

    heads = history.earlier(store.directory, key.room, key.agent)
    known = [head.get("uuid") for head in heads]
    return event["session_id"] not in [*known, _started_on() or event["session_id"]]


def _started_on() -> str | None:
    """The session id in the command line of the claude that runs this hook, or None."""
    import psutil

    from shim import invocation

    pid = environment.get("CLAUDE_PID")
    try:
        claude = [psutil.Process(int(pid))] if pid.isdigit() else psutil.Process().parents()
        for process in claude:
            asked = invocation.read(process.cmdline()[1:])
            named = asked.value("--session-id") or asked.value("--resume")
            if asked.has("--plugin-dir") and named:
                return named.rpartition("/")[2].removesuffix(".jsonl")
    except psutil.Error:
        pass
    return None
