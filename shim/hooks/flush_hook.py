"""The hook that holds a turn's answer back until the fleet has it, so that no host can lose it.

Claude Code runs it at the end of each turn (help facts, "Hooks"). It prints
nothing and never fails.
"""

import posix
import sys

from shim.base import environment
from shim.fleet import daemon_client
from shim.hooks import hook_owner

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from shim.base.session_key import SessionKey
    from shim.fleet.protocol import Message

# Seconds within which the sync daemon says something more, while it is at work.
_TIMEOUT = 10.0
# Bytes of an event that are read.
_LONGEST = 1 << 26


def main() -> "NoReturn":
    """Tell the sync daemon of a turn's end, wait until it is safe, and exit 0 whatever happens."""
    sys.stderr = None
    try:
        owner = hook_owner.owner()
        if owner is not None:
            with open(0, "rb", closefd=False) as stdin:
                _tell("flush", stdin.read(_LONGEST), *owner)
    finally:
        posix._exit(0)


def tell_of_head(data: bytes, session_id: str, head: str, store: str, key: "SessionKey") -> None:
    """Tell the sync daemon which conversation is the head after an event. Raises Failure."""
    if session_id == head:
        _tell("link", data, store, key)
    else:
        _ask(store, "head", key, session_id=head)


def _tell(request: str, data: bytes, store: str, key: "SessionKey") -> "Message":
    event = data.strip().replace(b"\n", b" ")
    return _ask(store, request, key, pid=_claude(), event=event)


def _ask(store: str, request: str, key: "SessionKey", **more: "Any") -> "Message":
    return daemon_client.ask(
        store,
        request,
        timeout=_TIMEOUT,
        room=key.room,
        agent=key.agent,
        **more,
    )


def _claude() -> int:
    """The pid of the claude that runs this hook."""
    pid = environment.get("CLAUDE_PID")
    return int(pid) if pid.isdigit() else posix.getppid()
