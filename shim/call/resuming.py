"""The steps of a call with a session key, from the key to the command line that resumes it."""

from shim.base import environment, messages
from shim.base.messages import explain, warn
from shim.base.session_key import derive, is_session_id
from shim.call import plan
from shim.claude import hooks, transcripts
from shim.locks.record_lock import ACQUIRED, BYPASS, FORK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.call.call import Call
    from shim.call.effects import Effects

_SHOWS_HOOKS = "--include-hook-events"


def resume(call: "Call", effects: "Effects") -> list[str] | None:
    """The arguments that resume the session key's conversation, or None where claude is left alone.

    The locks are acquired and the conversation is recorded. Raises OSError where a transcript
    cannot be read or moved aside.
    """
    has_id = call.invocation.has("--session-id") and call.explicit_id != ""  # which is none
    if has_id and not is_session_id(call.explicit_id or ""):
        explain("--session-id names no conversation: claude is left alone")
        return None
    effects.forks.take_over()
    if call.is_explicit:
        is_new = not effects.retention.exists(call)
        if is_new:
            explain(f"--session-id {call.explicit_id} starts a new conversation")
        _acquire_conversation(call, effects)
        # Of several that begin it at once the first does, and the others resume it.
        call.forget_location()
        if is_new and not effects.retention.exists(call):
            return _as_asked(call, effects)
        # Only who has the key's lock moves the head.
        call.moves_head = call.outcome == ACQUIRED and effects.locks.try_acquire_key(call)
        call.stored_id = effects.sessions.recall(call.key)
    else:
        effects.locks.acquire_key(call)
        call.stored_id = effects.sessions.recall(call.key)
        _acquire_head(call, effects)
    if call.outcome == BYPASS:
        effects.locks.release_all()
        return None
    call.locate()
    if call.outcome == ACQUIRED and call.unusable:
        effects.retention.set_aside_unusable(call)
    effects.retention.pin(call)
    _explain_session(call)
    _warn_of_another_tree(call)
    _warn_of_unwritable_transcript(call)
    effects.retention.housekeep()
    if call.outcome == FORK:
        return _fork(call, effects)
    if call.is_explicit:
        effects.forks.prepare_explicit(call)
    elif call.outcome == ACQUIRED:
        effects.forks.catch_up(call)
    if call.moves_head and call.session_id != call.stored_id:
        if call.stored_id is not None:
            effects.forks.move_head(call.stored_id, call.session_id)
        effects.sessions.record(call.key, call.session_id)
    moves = call.invocation.is_long_running and call.moves_head
    call.plugins = _plugins(call, effects, moves)
    if moves and not _reports_moves(call):
        effects.sessions.note_hookless(call.session_id)
    return call.invocation.with_flags(plan.flags(call))


def run_as_asked(call: "Call", effects: "Effects") -> list[str] | None:
    """The arguments of a call whose caller chose the conversation, or None where they stay.

    A conversation chosen by its session id is locked, and restored where it is gone but retained.
    The arguments change where `NSED_ON_BUSY` asks for a fork, and in a fleet. Raises OSError.
    """
    if not call.is_explicit:
        return None
    _acquire_conversation(call, effects)
    if call.outcome == BYPASS:
        effects.locks.release_all()
        return None
    call.locate()
    effects.retention.pin(call)
    if call.outcome == FORK:
        effects.forks.enter(call)
        effects.retention.pin(call)
        return call.invocation.with_conversation(plan.conversation_flags(call))
    effects.forks.prepare_explicit(call)
    return _as_asked(call, effects)


def _acquire_head(call: "Call", effects: "Effects") -> None:
    """Resolve the session id and acquire its lock.

    A copy of what a person left to the background resolves to that while it has no turn.
    """
    call.session_id = call.explicit_id or call.stored_id or derive(call.key)
    while True:
        if call.outcome == ACQUIRED:
            effects.locks.acquire_conversation(call)
        left = effects.sessions.left_for(call.session_id)
        if left is None or not effects.retention.is_empty(call):
            break
        explain(f"{call.session_id} is no copy of {left} yet, which is resumed")
        if call.outcome == ACQUIRED:
            effects.forks.move_head(call.session_id, left, is_copy=True)
        call.session_id = left
    if call.outcome == ACQUIRED and _is_in_fleet():
        effects.locks.acquire_in_fleet(call, effects.retention)


def _acquire_conversation(call: "Call", effects: "Effects") -> None:
    """Acquire the lock of the conversation that the caller chose, on all hosts."""
    effects.locks.acquire_conversation(call)
    if call.outcome == ACQUIRED and _is_in_fleet():
        effects.locks.acquire_in_fleet(call, effects.retention)


def _fork(call: "Call", effects: "Effects") -> list[str]:
    """The arguments to run in a fork of the conversation."""
    effects.forks.enter(call)
    effects.retention.pin(call)
    call.plugins = _plugins(call, effects, moves=True)
    call.title = _title_of_fork(call)
    return call.invocation.with_flags(plan.flags(call))


def _title_of_fork(call: "Call") -> str | None:
    """A name that stays before a person: claude clears the line that announces the fork."""
    invocation = call.invocation
    is_named = invocation.has("--name") or not invocation.spec.surely_has("--name")
    if call.transcript is None or is_named or not invocation.is_interactive:
        return None
    from shim.call import fork_title  # a fork is rare

    return fork_title.title(call.transcript.path, call.session_id)


def _explain_session(call: "Call") -> None:
    origin = "explicit" if call.is_explicit else "stored" if call.stored_id else "derived"
    where = call.transcript.path if call.transcript else "no transcript"
    explain(f"conversation {call.session_id} ({origin}): {where}")


def _warn_of_another_tree(call: "Call") -> None:
    """Warn a person before a conversation moves to another working tree than it lived in."""
    is_interactive = call.invocation.is_interactive
    if call.transcript is None or call.transcript.is_here:
        return
    if not is_interactive and not messages.is_explaining():
        return
    from shim.call import worktrees

    lived_in = worktrees.other_than_here(call.transcript.path)
    if lived_in is not None and is_interactive:
        warn(f"this conversation lived in {lived_in}: this is another working tree, or branch")
    elif lived_in is not None:
        explain(f"it lived in {lived_in}: this is another working tree")


def _warn_of_unwritable_transcript(call: "Call") -> None:
    """Warn that the turn will be answered and lost: claude says nothing of it."""
    place = transcripts.unwritable(call.transcript.path if call.transcript else None)
    if place is not None:
        warn(f"claude cannot write its transcript ({place}): this turn will not be kept")


def _as_asked(call: "Call", effects: "Effects") -> list[str] | None:
    """The caller's own command line with our plugins, or None where it takes none."""
    plugins = _plugins(call, effects, moves=False)
    return [*plan.plugin_flags(plugins), *call.invocation.args] if plugins else None


def _plugins(call: "Call", effects: "Effects", moves: bool) -> list[str]:
    """The directories of our plugin for a run, in the variants that it needs.

    A run that `moves` may change its conversation, and reports it: with `--include-hook-events`
    only by those hooks that the stream does not show (help facts, "Hooks"). In a fleet each run
    reports its turns.
    """
    if call.invocation.spec.option("--plugin-dir") is None:
        return []
    usual = "interactive" if call.invocation.is_interactive else "following"
    wanted = ["ending" if call.invocation.has(_SHOWS_HOOKS) else usual] if moves else []
    if _is_in_fleet():
        wanted.append("fleet")
    links = [effects.sessions.plugin_link(call.key, variant) for variant in wanted]
    return [link for link in links if link is not None]


def _reports_moves(call: "Call") -> bool:
    """Whether a hook of the plugin reports each move of this claude to another conversation."""
    invocation = call.invocation
    return bool(call.plugins) and not invocation.has(_SHOWS_HOOKS) and hooks.may_run(invocation)


def _is_in_fleet() -> bool:
    return bool(environment.get("NSED_FLEET_URL"))
