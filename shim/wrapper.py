"""What runs when a caller runs `claude`: from its arguments to the real claude's, in order."""

import _signal
import posix
import sys

from shim import binary, environment, identity, invocation
from shim.report import explain, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from shim.identity import SessionKey
    from shim.invocation import Invocation
    from shim.store import Store


class Call:
    """What the real claude is to be run with."""

    __slots__ = ("args", "exports")

    def __init__(self, args: list[str], exports: dict[str, bytes]) -> None:
        self.args = args
        self.exports = exports


def main() -> "NoReturn":
    """Become the real claude, continuing the conversation of this room and agent.

    Whatever goes wrong on the way is one warning, and claude runs as the caller asked.
    """
    _die_of_an_interrupt_as_claude_would()
    args = _arguments()
    claude = binary.find()
    try:
        call = prepare(args)
        explain(f"running {claude} with {call.args}")
        binary.become(claude, call.args, call.exports)
    except Exception as problem:
        warn(f"running claude as you asked, its conversation will not be kept: {problem!r}")
    try:
        binary.become(claude, args, {})
    except OSError as problem:
        warn(f"{claude} cannot be run: {problem.strerror}")
        sys.exit(binary.EXIT_CANNOT_RUN)


def prepare(args: list[str]) -> Call:
    """Decide what to run claude with, and record the conversation."""
    untouched = Call(args, {})
    if environment.is_on("NSED_SHIM_DISABLE"):
        explain("NSED_SHIM_DISABLE is set")
        return untouched
    asked = invocation.read(args)
    if asked.left_alone:
        explain(f"claude is left alone: {asked.left_alone}")
        return untouched
    agent = asked.value("--agent") or ""
    key = identity.resolve(posix.environ, agent.encode("utf-8", "surrogateescape"))
    if key is None:
        explain("neither a room nor an agent: claude is left alone")
        return untouched
    explain(str(key))
    return _resume(key, asked) or untouched


def _resume(key: "SessionKey", asked: "Invocation") -> Call | None:
    """The call that continues the key's conversation, or None where the caller names a new one."""
    # An untouched call, on the way above, has no need of these.
    from shim import plan, transcripts

    chosen = asked.value("--session-id")
    if asked.has("--session-id") and not identity.is_session_id(chosen or ""):
        explain("--session-id names no conversation: claude is left alone")
        return None
    store, stored = _recall(key)
    session_id = chosen or stored or identity.derive(key)
    transcript, unusable = transcripts.find(session_id)
    if chosen and not transcript and not unusable:
        explain(f"--session-id {chosen} starts a new conversation: claude is left alone")
        return None
    for path in unusable:
        warn(f"{path} holds no message; it is kept as {transcripts.set_aside(path)}")
    explain(f"conversation {session_id}: {transcript.path if transcript else 'no transcript'}")
    if store is not None and session_id != stored:
        _record(store, key, session_id)
    return Call(
        plan.flags(session_id, transcript) + asked.without("--session-id"),
        {"NSED_ROOM_ID": key.room_bytes, "NSED_AGENT_NAME": key.agent_bytes},
    )


def _recall(key: "SessionKey") -> "tuple[Store | None, str | None]":
    """The store, or None where it cannot be used, and the session id it has for the key.

    Without a store the derived session id still finds the conversation, unless it has moved on.
    """
    from shim.store import Store, StoreError, directory

    try:
        store = Store(directory())
        stored = store.recall(key.room, key.agent)
    except StoreError as problem:
        warn(f"{problem}; this conversation is not recorded")
        return None, None
    if stored is None or identity.is_session_id(stored):
        return store, stored
    warn(f"the stored id {stored!r} of {key} is no UUID; using {identity.derive(key)}")
    return store, None


def _record(store: "Store", key: "SessionKey", session_id: str) -> None:
    from shim.store import StoreError

    try:
        store.record(key.room, key.agent, session_id)
    except StoreError as problem:
        warn(f"{problem}; this conversation is not recorded")


def _die_of_an_interrupt_as_claude_would() -> None:
    # Python would raise KeyboardInterrupt, and show a traceback.
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def _arguments() -> list[str]:
    """The caller's arguments, as UTF-8 with surrogate escapes whatever the locale."""
    if sys.getfilesystemencoding() == "utf-8":
        return sys.argv[1:]
    # C's decoding of another encoding and Python's own codec for it don't always agree.
    with open("/proc/self/cmdline", "rb") as file:
        raw = file.read().split(b"\0")[:-1]
    return [arg.decode("utf-8", "surrogateescape") for arg in raw[len(raw) - len(sys.argv) + 1 :]]
