"""The steps of a call with a session key, from the key to the command line that resumes it."""

from shim.base import environment, messages
from shim.base.messages import explain, warn
from shim.base.session_key import derive, is_session_id, new_session_id
from shim.call import plan
from shim.call.call import Fork
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
    if call.is_explicit and not effects.retention.exists(call):
        explain(f"--session-id {call.explicit_id} starts a new conversation")
        _acquire_conversation(call, effects)
        # Of several that begin it at once the first does, and the others resume it.
        call.forget_location()
        if not effects.retention.exists(call):
            return _as_asked(call, effects)
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
    if call.session_id != call.stored_id:
        effects.sessions.record(call.key, call.session_id)
    call.plugins = _plugins(call, effects, moves=call.invocation.is_long_running)
    if call.invocation.is_long_running and not _reports_moves(call):
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
        fork = _new_fork(effects)
        return call.invocation.with_flags(["--fork-session", "--session-id", fork])
    return _as_asked(call, effects)


def _acquire_head(call: "Call", effects: "Effects") -> None:
    """Resolve the session id and acquire its lock. An empty fork resolves to its parent."""
    call.session_id = call.explicit_id or call.stored_id or derive(call.key)
    while True:
        if call.outcome == ACQUIRED:
            effects.locks.acquire_conversation(call)
        parent = _parent_of_empty_fork(call, effects)
        if parent is None:
            break
        explain(f"the fork {call.session_id} is empty: resuming its parent {parent}")
        call.session_id = parent
    if call.outcome == ACQUIRED and _is_in_fleet():
        effects.locks.acquire_in_fleet(call, effects.retention)


def _acquire_conversation(call: "Call", effects: "Effects") -> None:
    """Acquire the lock of the conversation that the caller chose, on all hosts."""
    effects.locks.acquire_conversation(call)
    if call.outcome == ACQUIRED and _is_in_fleet():
        effects.locks.acquire_in_fleet(call, effects.retention)


def _parent_of_empty_fork(call: "Call", effects: "Effects") -> str | None:
    """The conversation that `session_id` is a fork of, while the fork has no turn; else None."""
    if call.is_explicit or not effects.sessions.has_fork_marker(call.session_id):
        return None
    parent = effects.sessions.parent(call.session_id)
    return parent if parent and effects.retention.is_empty(call) else None


def _new_fork(effects: "Effects") -> str:
    """The session id of a new fork. Its lock takes the place of all that the call has."""
    session_id = new_session_id()
    effects.locks.release_all()
    effects.locks.acquire_fork(session_id)
    return session_id


def _fork(call: "Call", effects: "Effects") -> list[str]:
    """The arguments to run in a fork of the conversation, from its last finished turn."""
    from shim.claude import turns  # a fork is rare

    fork = Fork(_new_fork(effects))
    if call.transcript is not None and turns.has_ended(call.transcript.path) is False:
        fork.since = turns.last_answer(call.transcript.path)
        if fork.since is None and turns.is_seen_whole(call.transcript.path):
            call.transcript = None  # not even its first turn is finished
    effects.retention.copy_sidecars(call, fork.session_id)
    effects.sessions.note_fork(fork.session_id, call.session_id)
    call.fork = fork
    call.plugins = _plugins(call, effects, moves=True)
    if not _reports_moves(call):
        effects.sessions.record(call.key, fork.session_id)
        if call.invocation.is_long_running:
            effects.sessions.note_hookless(fork.session_id)
    fork.title = _title_of_fork(call, fork.session_id)
    return call.invocation.with_flags(plan.flags(call))


def _title_of_fork(call: "Call", session_id: str) -> str | None:
    """A name that stays before a person: claude clears the line that announces the fork."""
    invocation = call.invocation
    is_named = invocation.has("--name") or not invocation.spec.surely_has("--name")
    if call.transcript is None or is_named or not invocation.is_interactive:
        return None
    from shim.call import fork_title  # a fork is rare

    return fork_title.title(call.transcript.path, session_id)


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
