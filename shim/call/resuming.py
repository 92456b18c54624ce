"""From a room and agent to the command line that continues their conversation."""

import posix
import time

from shim.base import environment, messages, session_key
from shim.base.files import is_directory, leave_to_its_owner, make_directory
from shim.base.messages import Failure, explain, warn
from shim.call import plan
from shim.claude import cli_spec, hooks, registry, spec_lookup, transcripts
from shim.locks import record_lock
from shim.locks.record_lock import ACQUIRED, BYPASS, FORK, Holder, Lock
from shim.retention import daily, pinning
from shim.store import markers, plugin_links
from shim.store.markers import FORKS, HOOKLESS
from shim.store.store import Store, directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.base.session_key import SessionKey
    from shim.claude.cli_spec import CliSpec
    from shim.claude.invocation import Invocation
    from shim.claude.transcripts import Transcript
    from shim.locks.contention import WaitPolicy

_SHOWS_HOOKS = "--include-hook-events"
_NAP = 0.05


def command_line(key: "SessionKey", asked: "Invocation", effects: "Effects") -> list[str] | None:
    """The arguments to run claude with, or None where it is left alone after all.

    The lease is taken and the conversation recorded. Raises OSError where a transcript cannot be
    read or moved aside.
    """
    chosen = asked.value("--session-id")
    # An empty one is none to claude.
    if asked.has("--session-id") and chosen != "" and not session_key.is_session_id(chosen or ""):
        explain("--session-id names no conversation: claude is left alone")
        return None
    begins = bool(chosen) and not effects.is_there(chosen or "")
    if chosen and begins:
        explain(f"--session-id {chosen} starts a new conversation")
        turn = effects.turn_of_conversation(key, asked, chosen, is_explicit=True)
        _, turn = _join_fleet(key, asked, effects, chosen, turn, is_explicit=True)
        # Of several that begin it at once, the first one does, and the others go on with it.
        if not effects.is_there(chosen):
            return _with_plugins(key, asked, effects)
    else:
        turn = effects.turn(key, asked, bool(chosen))
    stored = effects.stored(key)
    session_id, turn = _taken(key, asked, effects, chosen, turn, stored or session_key.derive(key))
    if not begins:
        session_id, turn = _join_fleet(key, asked, effects, session_id, turn, bool(chosen))
    transcript, in_the_way = transcripts.find(session_id)
    if turn == BYPASS:
        effects.give_up()
        return None
    if turn == ACQUIRED and in_the_way:
        effects.make_way(session_id, in_the_way)
    transcript = effects.keep(session_id, transcript, turn == ACQUIRED)
    explain(_account(session_id, chosen, stored, transcript))
    if transcript is not None and not transcript.is_here:
        _tell_of_another_tree(asked, transcript)
    effects.housekeep()
    if turn == FORK:
        return _fork(key, asked, effects, session_id, transcript)
    if session_id != stored:
        effects.record(key, session_id)
    plugins = _plugins(key, asked, effects, moves=asked.is_long_running)
    if asked.is_long_running and not _is_heard(asked, plugins):
        effects.note_unheard(session_id)
    flags = plan.flags(session_id, transcript, plugins, _renders_prompt(asked))
    return asked.with_flags(flags)


def take_turns(key: "SessionKey", asked: "Invocation", effects: "Effects") -> list[str] | None:
    """Take the lease of a conversation that the caller chose by its id.

    None where claude runs as asked, else its arguments: of a fork, where one was asked for, and
    with what tells a fleet of its turns. A conversation that is gone but kept is put back. Raises
    OSError.
    """
    session_id = asked.explicit_session_id
    if session_id is None:
        return None
    turn = effects.turn_of_conversation(key, asked, session_id, is_explicit=True)
    _, turn = _join_fleet(key, asked, effects, session_id, turn, is_explicit=True, moves_head=False)
    if turn == BYPASS:
        effects.give_up()
        return None
    effects.keep(session_id, transcripts.find(session_id)[0], turn == ACQUIRED)
    if turn == FORK:
        fork = effects.fork()
        return asked.with_flags(["--fork-session", "--session-id", fork])
    return _with_plugins(key, asked, effects)


def _taken(
    key: "SessionKey",
    asked: "Invocation",
    effects: "Effects",
    chosen: str | None,
    turn: str,
    head: str,
) -> tuple[str, str]:
    """The conversation to go on with, and what to do with it, its lease included.

    A fork that nothing was said in is not gone on with, but what it is of.
    """
    session_id = chosen or head
    while True:
        if turn == ACQUIRED and not effects.has_lease_of(session_id):
            turn = effects.turn_of_conversation(key, asked, session_id, bool(chosen))
        parent = None if chosen else effects.parent(session_id)
        if parent is None:
            return session_id, turn
        explain(f"nothing was said in the fork {session_id}: what it is of goes on, {parent}")
        session_id = parent


def _join_fleet(
    key: "SessionKey",
    asked: "Invocation",
    effects: "Effects",
    session_id: str,
    turn: str,
    is_explicit: bool,
    moves_head: bool = True,
) -> tuple[str, str]:
    """The conversation to go on with, and how, where other hosts may have it or know more of it."""
    if turn != ACQUIRED or not _is_in_fleet():
        return session_id, turn
    return effects.join_fleet(key, asked, session_id, is_explicit, moves_head)


def _fork(
    key: "SessionKey",
    asked: "Invocation",
    effects: "Effects",
    session_id: str,
    transcript: "Transcript | None",
) -> list[str]:
    """The arguments to go on with a copy of a conversation, from its last finished turn."""
    from shim.claude import turns  # a fork is rare

    fork, since = effects.fork(), None
    if transcript is not None and turns.has_ended(transcript.path) is False:
        since = turns.last_answer(transcript.path)
        if since is None and turns.is_seen_whole(transcript.path):
            transcript = None  # not even its first turn is finished
    if transcript is not None:
        effects.give(transcript, fork)
    effects.note_fork(fork, session_id)
    plugins = _plugins(key, asked, effects, moves=True)
    if not _is_heard(asked, plugins):
        effects.record(key, fork)
        if asked.is_long_running:
            effects.note_unheard(fork)
    flags = plan.fork(session_id, transcript, fork, since, plugins, _renders_prompt(asked))
    return asked.with_flags([*flags, *_name_of_copy(asked, transcript, fork)])


def _name_of_copy(
    asked: "Invocation", transcript: "Transcript | None", session_id: str
) -> list[str]:
    """The flag for a name that stays before a person: claude clears the line that says it."""
    is_named = asked.has("--name") or not asked.spec.surely_has("--name")
    if transcript is None or is_named or not asked.is_interactive:
        return []
    from shim.call import fork_title  # a fork is rare

    return [f"--name={fork_title.of_copy(transcript.path, session_id)}"]


def _account(
    session_id: str, chosen: str | None, stored: str | None, transcript: "Transcript | None"
) -> str:
    origin = "asked for" if chosen else "stored" if stored else "derived"
    where = transcript.path if transcript else "no transcript"
    return f"conversation {session_id} ({origin}): {where}"


def _tell_of_another_tree(asked: "Invocation", transcript: "Transcript") -> None:
    """Warn a person before the conversation goes on in another working tree than it lived in."""
    if not asked.is_interactive and not messages.is_explaining():
        return
    from shim.call import worktrees

    lived_in = worktrees.other_than_here(transcript.path)
    if lived_in is not None and asked.is_interactive:
        warn(f"this conversation lived in {lived_in}: here is another working tree, or branch")
    elif lived_in is not None:
        explain(f"it lived in {lived_in}: here is another working tree")


def _renders_prompt(asked: "Invocation") -> bool:
    """Whether to have the system prompt rendered from this call, where it can be."""
    snapshot = "--system-prompt-snapshot"
    is_heeded = asked.is_interactive or asked.has(snapshot)
    return asked.spec.surely_has(snapshot) and not is_heeded


def _with_plugins(key: "SessionKey", asked: "Invocation", effects: "Effects") -> list[str] | None:
    """The caller's own command line with our plugins, where it takes any: in a fleet."""
    plugins = _plugins(key, asked, effects, moves=False)
    return [*plan.plugin_flags(plugins), *asked.args] if plugins else None


def _plugins(key: "SessionKey", asked: "Invocation", effects: "Effects", moves: bool) -> list[str]:
    """The directories of our plugin for a run, in the variants that it needs.

    One that `moves` says where it goes: with `--include-hook-events` only by those hooks that the
    stream does not show (help facts, "Hooks"). In a fleet each run tells of its turns.
    """
    if asked.spec.option("--plugin-dir") is None:
        return []
    usual = "interactive" if asked.is_interactive else "following"
    wanted = ["ending" if asked.has(_SHOWS_HOOKS) else usual] if moves else []
    if _is_in_fleet():
        wanted.append("fleet")
    links = [effects.link(key, variant) for variant in wanted]
    return [link for link in links if link is not None]


def _is_heard(asked: "Invocation", plugins: list[str]) -> bool:
    """Whether each move of the claude of a call is told by a hook of the plugin."""
    return bool(plugins) and not asked.has(_SHOWS_HOOKS) and hooks.may_run(asked)


def _is_in_fleet() -> bool:
    return bool(environment.get("NSED_FLEET_URL"))


class Effects:
    """What a call does to the world before it becomes claude: its lease, its store.

    Each act that fails is a warning. `plugin` is the directory of the plugin for a claude that can
    move to another conversation, in all its variants. `claude-shim explain` has acts of its own,
    which change nothing.
    """

    __slots__ = ("_conversation", "_has_leases", "leases", "plugin", "store")

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.leases: int | None = None
        self._conversation: str | None = None
        self._has_leases = True
        self.store: Store | None = None
        try:
            store = self.open_store()
            leave_to_its_owner(store.directory)
            self.store = store
        except Failure as problem:
            # The derived session id still finds the conversation, unless it has moved on.
            warn(f"{problem}; this conversation is not recorded")

    def open_store(self) -> Store:
        """The store. Raises Failure where there can be none."""
        return Store(directory())

    def surface(self, claude: str) -> "CliSpec":
        """What options and subcommands a claude has."""
        return (
            spec_lookup.cli_spec_of(claude, self.store.directory)
            if self.store
            else cli_spec.built_in()
        )

    def open_lease(self, start: int) -> Lock | None:
        """A lease, not taken yet, or None where there can be none. Raises OSError."""
        if self.store is None:
            return None
        if self.leases is None:
            where = self.store.directory
            try:
                self.leases = record_lock.open_lock_file(where)
            except FileNotFoundError:  # the first call of all
                try:
                    make_directory(where)
                except Failure:
                    return None  # recording will say what is wrong with the directory
                self.leases = record_lock.open_lock_file(where)
        return Lock(self.leases, start)

    def turn(self, key: "SessionKey", asked: "Invocation", is_explicit: bool) -> str:
        """Whether the key's lease is ours now, or what else to do with the conversation."""
        start = record_lock.key_offset(key.room, key.agent)
        return self._take(key, asked, is_explicit, start, lambda: self._conversation_of(key, asked))

    def turn_of_conversation(
        self, key: "SessionKey", asked: "Invocation", session_id: str, is_explicit: bool
    ) -> str:
        """The same of the conversation's lease, and beside a claude that is live without one."""
        start = record_lock.conversation_offset(session_id)
        turn = self._take(key, asked, is_explicit, start, lambda: session_id)
        pid = registry.live_on(session_id) if turn == ACQUIRED else None
        if pid is not None:
            from shim.locks import contention

            holder = Holder(pid, is_long_running=True)
            turn = contention.settle(
                *(key, asked, is_explicit, holder),
                lambda worth: self.outlasts(session_id, worth),
                lambda: session_id,
            )
        self._conversation = session_id if turn == ACQUIRED else None
        return turn

    def _take(
        self,
        key: "SessionKey",
        asked: "Invocation",
        is_explicit: bool,
        start: int,
        conversation: "Callable[[], str]",
    ) -> str:
        try:
            wanted = self.open_lease(start) if self._has_leases else None
            if wanted is None or wanted.try_acquire(asked.is_long_running):
                return ACQUIRED
            from shim.locks import contention

            return contention.settle(
                key,
                asked,
                is_explicit,
                wanted.holder(),
                lambda patience: self.wait(wanted, asked.is_long_running, patience),
                conversation,
            )
        except OSError as problem:
            self._warn_of_leases(problem)
            return ACQUIRED

    def _conversation_of(self, key: "SessionKey", asked: "Invocation") -> str:
        """What a call whose lease is taken would go on with."""
        try:
            stored = self.recall(key)
        except Failure:
            stored = None
        return asked.value("--session-id") or stored or session_key.derive(key)

    def has_lease_of(self, session_id: str) -> bool:
        """Whether the conversation's lease is this process's already."""
        return self._conversation == session_id

    def join_fleet(
        self,
        key: "SessionKey",
        asked: "Invocation",
        session_id: str,
        is_explicit: bool,
        moves_head: bool,
    ) -> tuple[str, str]:
        """Take the conversation on all hosts; which one it is, and what to do with it."""
        from shim.call import fleet_join  # nobody else imports anything of the fleet's

        return fleet_join.join(self, key, asked, session_id, is_explicit, moves_head)

    def fork(self) -> str:
        """The session id of a new conversation, with its lease and no other."""
        session_id = session_key.new_session_id()
        if self.leases is not None:
            record_lock.release_all(self.leases)
            Lock(self.leases, record_lock.conversation_offset(session_id)).try_acquire(
                is_long_running=True
            )
        return session_id

    def wait(self, wanted: Lock, is_long_running: bool, patience: "WaitPolicy") -> bool:
        """Wait in line for a lease, while that is worth it; whether it is ours."""
        return wanted.wait(is_long_running, patience)

    def outlasts(self, session_id: str, is_worth_it: "WaitPolicy") -> bool:
        """Wait for every stranger to leave a conversation, while that is worth it."""
        started = time.monotonic()
        while (pid := registry.live_on(session_id)) is not None:
            if not is_worth_it(Holder(pid, is_long_running=True), time.monotonic() - started):
                return False
            time.sleep(_NAP)
        return True

    def _warn_of_leases(self, problem: OSError) -> None:
        self._has_leases = False
        where = self.store.directory if self.store else ""
        try:
            if not is_directory(posix.stat(where)):
                return  # recording will say what is wrong with it
        except OSError:
            return
        warn(
            f"no lease can be taken in {where} ({problem.strerror}): turns sent at once may get"
            " lost; `claude-shim doctor` says how to mend that"
        )

    def is_there(self, session_id: str) -> bool:
        """Whether a conversation has a transcript, or a kept one to be put back. Raises OSError."""
        if transcripts.find(session_id) != (None, []):
            return True
        return self.store is not None and pinning.can_be_restored(self.store.directory, session_id)

    def give_up(self) -> None:
        """Give the leases back, and leave nothing open."""
        if self.leases is not None:
            posix.close(self.leases)
            self.leases = None

    def stored(self, key: "SessionKey") -> str | None:
        """The session id that the store has for the key, if it can be used."""
        try:
            stored = self.recall(key)
        except Failure as problem:
            warn(f"{problem}; this conversation is not recorded")
            self.store = None
            return None
        if stored is None:
            return None
        if session_key.is_session_id(stored):
            return self.followed(key, stored)
        warn(f"the stored id {stored!r} of {key} is no UUID; using {session_key.derive(key)}")
        return None

    def recall(self, key: "SessionKey") -> str | None:
        """The session id that the store has for the key, used now. Raises Failure."""
        return self.store.recall(key.room, key.agent) if self.store else None

    def followed(self, key: "SessionKey", stored: str) -> str:
        """Where a claude that no hook tells of has gone on from the stored conversation."""
        if self.store is None or not markers.exists(self.store.directory, HOOKLESS, stored):
            return stored
        where = self.store.directory
        moved = markers.hookless_moved_to(where, stored)
        if moved is None:
            markers.drop_ended_hookless(where, stored)
            return stored
        explain(f"a claude without our hooks went on from {stored}")
        markers.transfer(where, HOOKLESS, stored, moved)
        self.record(key, moved)
        return moved

    def note_unheard(self, session_id: str) -> None:
        """Note that this process becomes a claude that no hook tells of."""
        if self.store is not None:
            markers.note_hookless(self.store.directory, session_id)

    def parent(self, session_id: str) -> str | None:
        """Of which conversation a fork is that nothing was said in; None of any other."""
        if self.store is None or not markers.exists(self.store.directory, FORKS, session_id):
            return None
        where = self.store.directory
        parent = markers.parent_of(where, session_id)
        if parent is None or transcripts.find(session_id)[0] is not None:
            return None
        return None if pinning.can_be_restored(where, session_id) else parent

    def note_fork(self, fork: str, parent: str) -> None:
        """Note of which conversation a fork is."""
        if self.store is not None:
            markers.note_fork(self.store.directory, fork, parent)

    def link(self, key: "SessionKey", variant: str) -> str | None:
        """The link to a variant of the plugin that says by its path whose it is, if there can be
        one.
        """
        if self.store is None:
            return None
        return plugin_links.ensure(self.store.directory, key, self.plugin, variant)

    def make_way(self, session_id: str, paths: list[str]) -> None:
        """Move away transcripts that claude can neither resume nor replace. Raises OSError."""
        # Before, so that a kill in between leaves a call that puts it back.
        is_copy = self.store is not None and pinning.begin_restore(self.store.directory, session_id)
        then = ", and the copy of a day goes on in its place" if is_copy else ""
        for path in paths:
            warn(f"{path} holds no message; it is kept as {transcripts.set_aside(path)}{then}")

    def keep(
        self, session_id: str, transcript: "Transcript | None", is_ours: bool
    ) -> "Transcript | None":
        """Keep the transcript; where there is none, have it back; what is there then.

        Raises OSError where it cannot be put back. To start afresh would be to lose it.
        """
        if self.store is None:
            return transcript
        where = self.store.directory
        if transcript is None or not pinning.pin(where, session_id, transcript, is_ours):
            transcript = pinning.restore(where, session_id)
            if transcript is not None:
                pinning.pin(where, session_id, transcript, is_ours)
            elif is_ours:
                pinning.note_start(where, session_id)
        return transcript

    def give(self, transcript: "Transcript", fork: str) -> None:
        """Give a fork what lies beside its parent's transcript, and claude leaves behind."""
        pinning.copy_sidecars(transcript.path, fork)

    def housekeep(self) -> None:
        """Start the daily housekeeping, if it is time."""
        if self.store is not None:
            daily.start_if_due(self.store.directory)

    def record(self, key: "SessionKey", session_id: str) -> None:
        """Map the key to a conversation."""
        try:
            if self.store is not None:
                self.store.record(key.room, key.agent, session_id)
        except Failure as problem:
            warn(f"{problem}; this conversation is not recorded")
