"""From a room and agent to the command line that continues their conversation."""

import posix

from shim import identity, plan, registry, transcripts
from shim.lease import ASIDE, FORK, OURS, Lease
from shim.report import explain, warn
from shim.store import Store, StoreError, directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.identity import SessionKey
    from shim.invocation import Invocation


def command_line(
    key: "SessionKey", asked: "Invocation", store: Store | None, plugin: str
) -> list[str] | None:
    """The arguments to run claude with, or None where it is left alone after all.

    The lease is taken and the conversation recorded. `plugin` is the directory of the plugin for
    a claude that can move to another conversation. Raises OSError where a transcript cannot be
    read or moved aside.
    """
    chosen = asked.value("--session-id")
    # An empty one is none to claude.
    if asked.has("--session-id") and chosen != "" and not identity.is_session_id(chosen or ""):
        explain("--session-id names no conversation: claude is left alone")
        return None
    # Before the lease, because a new conversation has to wait for nobody.
    if chosen and transcripts.find(chosen) == (None, []):
        explain(f"--session-id {chosen} starts a new conversation: claude is left alone")
        return None
    lease = _lease(store, key)
    turn = _turn(lease, key, asked.goes_on)
    store, stored = _stored(store, key)
    session_id = chosen or stored or identity.derive(key)
    if turn == OURS:
        turn = _turn_beside_strangers(session_id, key)
    transcript, in_the_way = transcripts.find(session_id)
    if turn != OURS and lease is not None:
        lease.close()
    if turn == ASIDE:
        return None
    explain(f"conversation {session_id}: {transcript.path if transcript else 'no transcript'}")
    if turn == OURS:
        for path in in_the_way:
            warn(f"{path} holds no message; it is kept as {transcripts.set_aside(path)}")
        if session_id != stored:
            _record(store, key, session_id)
    fork = identity.new_session_id() if turn == FORK else None
    can_move = asked.goes_on or fork is not None
    hooks = plugin if can_move and _takes_plugins(asked, plugin) else None
    flags = plan.flags(session_id, transcript, fork, hooks)
    return asked.with_flags(flags)


def _takes_plugins(asked: "Invocation", plugin: str) -> bool:
    has_option = asked.surface.option("--plugin-dir") is not None
    return has_option and posix.access(plugin, posix.R_OK)


def open_store() -> Store | None:
    """The store, or None, with a warning, where there can be none.

    Without it the derived session id still finds the conversation, unless it has moved on.
    """
    try:
        return Store(directory())
    except StoreError as problem:
        warn(f"{problem}; this conversation is not recorded")
        return None


def _lease(store: Store | None, key: "SessionKey") -> Lease | None:
    """The key's lease, not taken yet, or None where there can be none."""
    if store is None:
        return None
    try:
        return Lease(store.directory, key)
    except FileNotFoundError:
        from shim.adding import make_directory  # the first call of all
    except OSError as problem:
        explain(f"there are no leases in {store.directory}: {problem.strerror}")
        return None
    try:
        make_directory(store.directory)
        return Lease(store.directory, key)
    except (StoreError, OSError):
        return None  # recording will say what is wrong with the directory


def _turn(lease: Lease | None, key: "SessionKey", goes_on: bool) -> str:
    """Whether the conversation is ours, is to be forked, or we step aside."""
    try:
        if lease is None or lease.take(goes_on):
            return OURS
        from shim import busy

        return busy.settle(lease, key, goes_on)
    except OSError as problem:
        warn(f"no lease can be taken here ({problem.strerror}): turns sent at once may get lost")
        return OURS


def _turn_beside_strangers(session_id: str, key: "SessionKey") -> str:
    """The same beside a claude that is live on the conversation without having the lease."""
    pid = registry.live_on(session_id)
    if pid is None:
        return OURS
    from shim import busy

    return busy.settle_stranger(pid, key)


def _stored(store: Store | None, key: "SessionKey") -> tuple[Store | None, str | None]:
    """The store as far as it can be used, and the session id it has for the key."""
    if store is None:
        return None, None
    try:
        stored = store.recall(key.room, key.agent)
    except StoreError as problem:
        warn(f"{problem}; this conversation is not recorded")
        return None, None
    if stored is None or identity.is_session_id(stored):
        return store, stored
    warn(f"the stored id {stored!r} of {key} is no UUID; using {identity.derive(key)}")
    return store, None


def _record(store: Store | None, key: "SessionKey", session_id: str) -> None:
    try:
        if store is not None:
            store.record(key.room, key.agent, session_id)
    except StoreError as problem:
        warn(f"{problem}; this conversation is not recorded")
