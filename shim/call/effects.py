"""What a call does to the world before it becomes claude, in four parts.

What fails is a warning, or raises where the conversation would be lost. `claude-shim explain` has
a dry-run twin of each class (`dry_run`).
"""

import posix

from shim.base.files import is_directory, leave_to_its_owner, make_directory
from shim.base.messages import Failure, explain, warn
from shim.base.session_key import derive, is_session_id
from shim.claude import cli_spec, registry, spec_lookup, transcripts
from shim.locks import record_lock
from shim.locks.record_lock import ACQUIRED, Lock
from shim.retention import daily, pinning
from shim.store import markers, plugin_links
from shim.store.markers import FORKS, HOOKLESS, LEFT
from shim.store.store import Store, directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.base.session_key import SessionKey
    from shim.call.call import Call
    from shim.claude.cli_spec import CliSpec
    from shim.locks.contention import Contended, WaitPolicy


class Effects:
    """The four together. `plugin` is the directory of our plugin for claude, with its variants."""

    __slots__ = ("forks", "locks", "retention", "sessions")

    def __init__(self, plugin: str) -> None:
        self.sessions = Sessions(plugin)
        self.locks = Locks(self.sessions)
        self.retention = Retention(self.sessions)
        self.forks = Forks(self.sessions, self.locks)


class Sessions:
    """The store, and what lies beside it; `store` is None where there can be none."""

    __slots__ = ("plugin", "store")

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.store: Store | None = None
        try:
            store = self._open()
            leave_to_its_owner(store.directory)
            self.store = store
        except Failure as problem:
            # The derived session id still finds the conversation, unless it has moved on.
            warn(f"{problem}; this conversation is not recorded")

    def cli_spec(self, claude: str) -> "CliSpec":
        """The options and subcommands of a claude."""
        if self.store is None:
            return cli_spec.built_in()
        return spec_lookup.cli_spec_of(claude, self.store.directory)

    def recall(self, key: "SessionKey") -> str | None:
        """The session id that the store maps the key to, if claude can use it.

        Marks the mapping as used now.
        """
        try:
            stored = self._recall(key)
        except Failure as problem:
            warn(f"{problem}; this conversation is not recorded")
            self.store = None
            return None
        if stored is None:
            return None
        if is_session_id(stored):
            return self._followed(key, stored)
        warn(f"the stored id {stored!r} of {key} is no UUID; using {derive(key)}")
        return None

    def peek(self, key: "SessionKey") -> str:
        """The session id that the key has now, stored or derived. Changes nothing."""
        try:
            stored = self.store.get(key.room, key.agent) if self.store else None
        except Failure:
            stored = None
        return stored or derive(key)

    def record(self, key: "SessionKey", session_id: str) -> None:
        """Map the key to a conversation."""
        try:
            if self.store is not None:
                self.store.record(key.room, key.agent, session_id)
        except Failure as problem:
            warn(f"{problem}; this conversation is not recorded")

    def left_for(self, session_id: str) -> str | None:
        """What a person left for a copy of it, where the conversation is to be that copy."""
        if self.store is None or not markers.exists(self.store.directory, LEFT, session_id):
            return None
        return markers.left_for(self.store.directory, session_id)

    def note_hookless(self, session_id: str) -> None:
        """Note that this process becomes a claude whose moves no hook reports."""
        if self.store is not None:
            markers.note_hookless(self.store.directory, session_id)

    def plugin_link(self, key: "SessionKey", variant: str) -> str | None:
        """The key's own link to a variant of the plugin, made where it is missing."""
        if self.store is None:
            return None
        return plugin_links.ensure(self.store.directory, key, self.plugin, variant)

    def _open(self) -> Store:
        return Store(directory())

    def _recall(self, key: "SessionKey") -> str | None:
        return self.store.recall(key.room, key.agent) if self.store else None

    def _followed(self, key: "SessionKey", stored: str) -> str:
        """The conversation that a hookless claude moved on to from the stored one, else that."""
        if self.store is None or not markers.exists(self.store.directory, HOOKLESS, stored):
            return stored
        where = self.store.directory
        moved = markers.hookless_moved_to(where, stored)
        if moved is None:
            markers.drop_ended_hookless(where, stored)
            return stored
        explain(f"a claude without our hooks moved on from {stored}")
        markers.transfer(where, HOOKLESS, stored, moved)
        self.record(key, moved)
        return moved


class Locks:
    """The locks of a call: its key's, and its conversation's."""

    __slots__ = ("_can_lock", "_sessions", "file")

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._can_lock = True
        self.file: int | None = None

    def acquire_key(self, call: "Call") -> None:
        """Acquire the lock of the session key, or decide what to do without it."""

        def session_id() -> str:
            return call.explicit_id or self._sessions.peek(call.key)

        offset = record_lock.key_offset(call.key.room, call.key.agent)
        call.outcome = self._acquire(call, offset, session_id)

    def acquire_conversation(self, call: "Call") -> None:
        """Acquire the lock of `session_id`, beside no unmanaged claude, or decide what to do."""
        offset = record_lock.conversation_offset(call.session_id)
        call.outcome = self._acquire(call, offset, lambda: call.session_id)
        if call.outcome == ACQUIRED and registry.live_on(call.session_id) is not None:
            from shim.locks import contention

            self.resolve(call, contention.Unmanaged(call.session_id))

    def acquire_in_fleet(self, call: "Call", retention: "Retention") -> None:
        """Acquire the conversation on all hosts: it may be another there, or in use."""
        if self._sessions.store is None:
            return
        from shim.call import fleet_join  # the only import of the fleet's code

        fleet_join.join(call, self, retention)

    def try_acquire_key(self, call: "Call") -> bool:
        """Acquire the lock of the session key if it is free; whether the call has it now."""
        offset = record_lock.key_offset(call.key.room, call.key.agent)
        try:
            lock = self._open(offset)
            return lock is None or lock.try_acquire(call.invocation.is_long_running)
        except (OSError, Failure) as problem:
            self._warn(problem, is_recorded=call.moves_head)
            return True

    def resolve(self, call: "Call", contended: "Contended") -> None:
        """Decide what a call does about what another claude has, after a wait where it is due."""
        from shim.locks import contention

        call.outcome = contention.resolve(call, contended, self.wait_for)
        call.forget_location()

    def acquire_fork(self, session_id: str) -> None:
        """Acquire the lock of a new fork, which nobody else can have."""
        try:
            lock = self._open(record_lock.conversation_offset(session_id))
            if lock is not None:
                lock.try_acquire(is_long_running=True)
        except (OSError, Failure) as problem:
            self._warn(problem, is_recorded=True)

    @property
    def are_there(self) -> bool:
        """Whether this call has locks, as far as it has tried."""
        return self._can_lock and self._sessions.store is not None

    def try_acquire_free(self, session_id: str, is_long_running: bool) -> Lock | None:
        """Acquire the lock of a conversation that nobody has and no claude lives on.

        None where somebody has it, or where there are no locks.
        """
        try:
            lock = self._open(record_lock.conversation_offset(session_id))
            if lock is None or not lock.try_acquire(is_long_running):
                return None
        except (OSError, Failure) as problem:
            self._warn(problem, is_recorded=True)
            return None
        if registry.live_on(session_id) is None:
            return lock
        lock.release()
        return None

    def is_held(self, session_id: str) -> bool:
        """Whether another process has the lock of a conversation. Raises OSError, Failure."""
        lock = self._open(record_lock.conversation_offset(session_id))
        return lock is not None and lock.holder() is not None

    def release_all(self) -> None:
        """Release the locks of this process, and leave no descriptor open."""
        if self.file is not None:
            posix.close(self.file)
            self.file = None

    def _acquire(self, call: "Call", offset: int, session_id: "Callable[[], str]") -> str:
        """Acquire the lock at an offset; what to do with the conversation otherwise."""
        is_long_running = call.invocation.is_long_running
        try:
            lock = self._open(offset)
            if lock is None or lock.try_acquire(is_long_running):
                return ACQUIRED
            from shim.locks import contention

            self.resolve(call, contention.LocalLock(lock, is_long_running, session_id))
            return call.outcome
        except (OSError, Failure) as problem:
            self._warn(problem, is_recorded=call.moves_head)
            return ACQUIRED

    def _open(self, offset: int) -> Lock | None:
        """A lock, not acquired yet, or None where there can be none. Raises OSError, Failure."""
        store = self._sessions.store
        if store is None or not self._can_lock:
            return None
        if self.file is None:
            try:
                self.file = record_lock.open_lock_file(store.directory)
            except FileNotFoundError:  # the first call of all
                make_directory(store.directory)
                self.file = record_lock.open_lock_file(store.directory)
        return Lock(self.file, offset)

    def wait_for(self, contended: "Contended", policy: "WaitPolicy") -> bool:
        """Wait while the policy allows it; return whether the call has it now."""
        from shim.locks import contention

        return contention.wait_for(contended, policy)

    def _warn(self, problem: "OSError | Failure", is_recorded: bool) -> None:
        """Say that there are no locks, once; not where recording reports the same directory."""
        self._can_lock = False
        reason = problem.strerror if isinstance(problem, OSError) else problem
        where = self._sessions.store.directory if self._sessions.store else ""
        if is_recorded and not _is_directory_at(where):
            return
        warn(
            f"cannot lock sessions in {where} ({reason}): concurrent calls may lose turns; see"
            " `claude-shim doctor`"
        )


class Forks:
    """The forks of a conversation: what both lack of each other, and the one that a call runs in.

    Turns that cannot be appended stay where they are, with a warning; the next call tries again.
    """

    __slots__ = ("_locks", "_sessions")

    def __init__(self, sessions: Sessions, locks: Locks) -> None:
        self._sessions = sessions
        self._locks = locks

    def take_over(self) -> None:
        """Take over the forks of version 0.2.0, once."""
        if self._store and markers.is_of_old_version(self._store):
            from shim.call import forking

            self._try(lambda: forking.take_over(self._store))

    def catch_up(self, call: "Call") -> None:
        """Append to the head of a call what was said in its forks; for who has its lock."""
        if self._locks.are_there and self._has_any(call.session_id):
            from shim.call import forking

            self._try(lambda: forking.catch_up(self._store, call, self._locks))

    def prepare_explicit(self, call: "Call") -> None:
        """Prepare a conversation that the caller chose by its id, where the call has its lock.

        Nothing is appended to it: what a kill left of an append is cut off, and a fork that was
        over is noted anew.
        """
        if call.outcome == ACQUIRED and self._has_any(call.session_id):
            from shim.call import forking

            self._try(lambda: forking.prepare_explicit(self._store, call.session_id))

    def move_head(self, head: str, new: str, is_copy: bool = False) -> None:
        """Have the forks of a head follow, as a call moves it to another conversation."""
        if self._has_any(head) or self._has_any(new):
            from shim.call import forking

            self._try(lambda: forking.move_head(self._store, head, new, is_copy, self._locks))

    def enter(self, call: "Call") -> None:
        """Have a call resume a fork of its conversation: the newest that is free, or a new one.

        The fork's lock takes the place of all that the call has. Raises OSError and Failure where
        no fork can be written.
        """
        from shim.call import forking  # a fork is rare

        self._locks.release_all()
        if not self._store:
            raise Failure("a fork needs a store")
        forking.enter(self._store, call, self._locks)
        call.outcome = ACQUIRED

    @property
    def _store(self) -> str:
        return self._sessions.store.directory if self._sessions.store else ""

    def _has_any(self, session_id: str) -> bool:
        """Whether a conversation has forks with turns to give or to get, or is a fork itself."""
        return bool(self._store) and (
            markers.has_forks(self._store, session_id)
            or markers.exists(self._store, FORKS, session_id)
        )

    def _try(self, act: "Callable[[], object]") -> None:
        from shim.call import forking

        try:
            act()
        except forking.PROBLEMS as problem:
            warn(f"turns of this room could not be brought together: {problem}")


class Retention:
    """What lets a conversation outlive claude's clean-up."""

    __slots__ = ("_sessions",)

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @property
    def store_directory(self) -> str:
        """The store's directory; empty where there is none."""
        return self._sessions.store.directory if self._sessions.store else ""

    def exists(self, call: "Call") -> bool:
        """Whether the conversation of a call has a transcript, or one to restore.

        Raises OSError.
        """
        call.locate()
        return call.transcript is not None or bool(call.unusable) or self._can_be_restored(call)

    def is_empty(self, call: "Call") -> bool:
        """Whether the conversation of a call has no turn, here or to restore. Raises OSError."""
        call.locate()
        return call.transcript is None and not self._can_be_restored(call)

    def set_aside_unusable(self, call: "Call") -> None:
        """Move away transcripts that claude can neither resume nor replace. Raises OSError."""
        # Before, so that a kill in between leaves a call that restores it.
        store, session_id = self._sessions.store, call.session_id
        is_copy = store is not None and pinning.begin_restore(store.directory, session_id)
        then = ", and the compressed copy takes its place" if is_copy else ""
        for path in call.unusable:
            warn(f"{path} holds no message; it is kept as {transcripts.set_aside(path)}{then}")

    def pin(self, call: "Call") -> None:
        """Pin the transcript of a call; where there is none, restore it.

        Raises OSError where it cannot be restored: a new conversation would replace it.
        """
        if self._sessions.store is None:
            return
        where, session_id = self._sessions.store.directory, call.session_id
        transcript, is_ours = call.transcript, call.outcome == ACQUIRED
        if transcript is None or not pinning.pin(where, session_id, transcript, is_ours):
            transcript = pinning.restore(where, session_id)
            if transcript is not None:
                pinning.pin(where, session_id, transcript, is_ours)
            elif is_ours:
                pinning.note_start(where, session_id)
        call.transcript = transcript

    def housekeep(self) -> None:
        """Start the daily housekeeping, if it is due."""
        if self._sessions.store is not None:
            daily.start_if_due(self._sessions.store.directory)

    def _can_be_restored(self, call: "Call") -> bool:
        store = self._sessions.store
        return store is not None and pinning.can_be_restored(store.directory, call.session_id)


def _is_directory_at(path: str) -> bool:
    try:
        return is_directory(posix.stat(path))
    except OSError:
        return False
