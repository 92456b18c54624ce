"""The hook that moves the head with the conversation: what claude is on is what goes on next.

Claude Code runs it before each turn and at each end of a conversation, with an account of it on
stdin (FACTS.md, "hooks"). What it prints would enter the conversation, so it prints nothing.
"""

import posix
import sys

from shim.base import environment
from shim.base.session_key import is_session_id, named_key
from shim.store.store import Store, directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from shim.base.session_key import SessionKey

# Bytes of an account that are read; a prompt may be long, but there is an end to it.
_LONGEST = 1 << 26
_LONGEST_START = 256
_SESSION_ID = b'"session_id"'


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
    by `/clear` or `/resume`. Raises ValueError for what is no JSON, Failure where nothing can be
    recorded.
    """
    session_id = _session_id(account)
    key = named_key(posix.environ)
    if key is None or session_id is None:
        return
    store = Store(directory())
    if store.recall(key.room, key.agent) == session_id:
        return
    event = _parsed(account)
    if event.get("hook_event_name") == "UserPromptSubmit" or _was_come_to(event, store, key):
        store.record(key.room, key.agent, session_id)
        if environment.get("NSED_FLEET_URL"):
            from shim.hooks import flushing

            flushing.tell("link", account, store.directory, key)


def _session_id(account: bytes) -> str | None:
    """The session id of an account, or None where it names none that claude accepts."""
    named = _named_first(account)
    if named is None:
        named = _parsed(account).get("session_id")
    return named if isinstance(named, str) and is_session_id(named) else None


def _named_first(account: bytes) -> str | None:
    """The session id of an account that starts with it, as claude's do; None asks for a parse.

    Most events are of the head, and no more of them is needed: the `json` module takes as long to
    import as all the rest of the hook.
    """
    # A key that comes twice has its last value, and can be spelled with escapes.
    if account.count(_SESSION_ID) != 1 or b"\\u" in account:
        return None
    opening, _, rest = account[:_LONGEST_START].partition(_SESSION_ID)
    colon, _, rest = rest.partition(b'"')
    named, end, _ = rest.partition(b'"')
    if opening.split() != [b"{"] or colon.split() != [b":"] or not end or not named.isascii():
        return None
    return None if b"\\" in named else named.decode()


def _parsed(account: bytes) -> "dict[str, Any]":
    import json

    event = json.loads(account)
    return event if isinstance(event, dict) else {}


def _was_come_to(event: "dict[str, Any]", store: Store, key: "SessionKey") -> bool:
    """Whether the event ends a conversation without a turn that this claude was not started on.

    A turn would have made it the head, and by now an earlier one.
    """
    if event.get("hook_event_name") != "SessionEnd" or event.get("reason") == "clear":
        return False
    from shim.store import history

    heads = history.earlier(store.directory, key.room, key.agent)
    known = [head.get("uuid") for head in heads]
    return event["session_id"] not in [*known, _started_on() or event["session_id"]]


def _started_on() -> str | None:
    """The session id in the command line of the claude that runs this hook, or None."""
    import psutil

    from shim.claude import invocation

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
