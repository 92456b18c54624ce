"""From a room and agent to the command line that continues their conversation."""

import posix

from shim.base import session_key
from shim.base.files import leave_to_its_owner
from shim.base.messages import Failure, explain, warn
from shim.call import plan
from shim.claude import learned, options, registry, transcripts
from shim.keep import daily, holding
from shim.lease.lease import ASIDE, FORK, OURS, Lease
from shim.store.store import Store, directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.base.session_key import SessionKey
    from shim.claude.invocation import Invocation
    from shim.claude.options import Surface
    from shim.claude.transcripts import Transcript


def command_line(key: "SessionKey", asked: "Invocation", acts: "Acts") -> list[str] | None:
    """The arguments to run claude with, or None where it is left alone after all.

    The lease is taken and the conversation recorded. Raises OSError where a transcript cannot be
    read or moved aside.
    """
    chosen = asked.value("--session-id")
    # An empty one is none to claude.
    if asked.has("--session-id") and chosen != "" and not session_key.is_session_id(chosen or ""):
        explain("--session-id names no conversation: claude is left alone")
        return None
    # Before the lease, because a new conversation has to wait for nobody.
    if chosen and transcripts.find(chosen) == (None, []) and not acts.can_be_put_back(chosen):
        explain(f"--session-id {chosen} starts a new conversation: claude is left alone")
        return None
    turn = acts.turn(key, asked.goes_on)
    stored = acts.stored(key)
    session_id = chosen or stored or session_key.derive(key)
    if turn == OURS:
        turn = acts.turn_beside_strangers(session_id, key)
    transcript, in_the_way = transcripts.find(session_id)
    if turn != OURS:
        acts.give_up()
    if turn == ASIDE:
        return None
    if turn == OURS and in_the_way:
        acts.make_way(session_id, in_the_way)
    transcript = acts.keep(session_id, transcript, turn == OURS)
    explain(_account(session_id, chosen, stored, transcript))
    if turn == OURS and session_id != stored:
        acts.record(key, session_id)
    acts.housekeep()
    fork = session_key.new_session_id() if turn == FORK else None
    can_move = asked.goes_on or fork is not None
    hooks = acts.plugin if can_move and _takes_plugins(asked, acts.plugin) else None
    flags = plan.flags(session_id, transcript, fork, hooks, _renders_prompt(asked))
    return asked.with_flags(flags)


def _account(
    session_id: str, chosen: str | None, stored: str | None, transcript: "Transcript | None"
) -> str:
    origin = "asked for" if chosen else "stored" if stored else "derived"
    where = transcript.path if transcript else "no transcript"
    return f"conversation {session_id} ({origin}): {where}"


def _renders_prompt(asked: "Invocation") -> bool:
    """Whether to have the system prompt rendered from this call, where it can be."""
    snapshot = "--system-prompt-snapshot"
    is_heeded = asked.is_interactive or asked.has(snapshot)
    return asked.surface.surely_has(snapshot) and not is_heeded


def _takes_plugins(asked: "Invocation", plugin: str) -> bool:
    has_option = asked.surface.option("--plugin-dir") is not None
    return has_option and posix.access(plugin, posix.R_OK)


class Acts:
    """What a call does to the world before it becomes claude: its lease, its store.

    Each act that fails is a warning. `plugin` is the directory of the plugin for a claude that can
    move to another conversation. `claude-shim explain` has acts of its own, which change nothing.
    """

    __slots__ = ("lease", "plugin", "store")

    def __init__(self, plugin: str) -> None:
        self.plugin = plugin
        self.lease: Lease | None = None
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

    def surface(self, claude: str) -> "Surface":
        """What options and subcommands a claude has."""
        return learned.of(claude, self.store.directory) if self.store else options.built_in()

    def open_lease(self, where: str, key: "SessionKey") -> Lease | None:
        """The key's lease, not taken yet, or None where there can be none. Raises OSError."""
        try:
            return Lease(where, key)
        except FileNotFoundError:
            from shim.base.files import make_directory  # the first call of all
        try:
            make_directory(where)
        except Failure:
            return None  # recording will say what is wrong with the directory
        return Lease(where, key)

    def turn(self, key: "SessionKey", goes_on: bool) -> str:
        """Whether the conversation is ours, with its lease, is to be forked, or we step aside."""
        if self.store is None:
            return OURS
        try:
            self.lease = self.open_lease(self.store.directory, key)
        except OSError as problem:
            explain(f"there are no leases in {self.store.directory}: {problem.strerror}")
        try:
            if self.lease is None or self.lease.take(goes_on):
                return OURS
            from shim.lease import busy

            return busy.settle(self.lease, key, goes_on)
        except OSError as problem:
            warn(
                f"no lease can be taken here ({problem.strerror}): turns sent at once may get lost"
            )
            return OURS

    def turn_beside_strangers(self, session_id: str, key: "SessionKey") -> str:
        """The same beside a claude that is live on the conversation without having the lease."""
        pid = registry.live_on(session_id)
        if pid is None:
            return OURS
        from shim.lease import busy

        return busy.settle_stranger(pid, key, self.outlasts)

    def outlasts(self, pid: int, timeout: float) -> bool:
        """Wait for a process to end, for at most `timeout` seconds; whether it has not."""
        import psutil

        try:
            psutil.Process(pid).wait(timeout)
        except psutil.TimeoutExpired:
            return True
        except psutil.NoSuchProcess:
            pass
        return False

    def give_up(self) -> None:
        """Give the lease back, or the wish to have it."""
        if self.lease is not None:
            self.lease.close()

    def stored(self, key: "SessionKey") -> str | None:
        """The session id that the store has for the key, if it can be used."""
        try:
            stored = self.recall(key)
        except Failure as problem:
            warn(f"{problem}; this conversation is not recorded")
            self.store = None
            return None
        if stored is None or session_key.is_session_id(stored):
            return stored
        warn(f"the stored id {stored!r} of {key} is no UUID; using {session_key.derive(key)}")
        return None

    def recall(self, key: "SessionKey") -> str | None:
        """The session id that the store has for the key, used now. Raises Failure."""
        return self.store.recall(key.room, key.agent) if self.store else None

    def make_way(self, session_id: str, paths: list[str]) -> None:
        """Move away transcripts that claude can neither resume nor replace. Raises OSError."""
        if self.store is not None:
            # Before, so that a kill in between leaves a call that puts it back.
            holding.begin_to_put_back(self.store.directory, session_id)
        for path in paths:
            warn(f"{path} holds no message; it is kept as {transcripts.set_aside(path)}")

    def can_be_put_back(self, session_id: str) -> bool:
        """Whether the conversation is kept, and is to be put back. Raises OSError."""
        return self.store is not None and holding.can_be_put_back(self.store.directory, session_id)

    def keep(
        self, session_id: str, transcript: "Transcript | None", is_ours: bool
    ) -> "Transcript | None":
        """Keep the transcript, or put back one that claude's clean-up took; what is there then.

        Raises OSError where it cannot be put back. To start afresh would be to lose it.
        """
        if self.store is None:
            return transcript
        where = self.store.directory
        if transcript is not None and holding.hold(where, session_id, transcript, is_ours):
            return transcript
        holding.put_back(where, session_id)
        return transcripts.find(session_id)[0]

    def housekeep(self) -> None:
        """Start the daily housekeeping, if it is time."""
        if self.store is not None:
            daily.housekeep(self.store.directory)

    def record(self, key: "SessionKey", session_id: str) -> None:
        """Map the key to a conversation."""
        try:
            if self.store is not None:
                self.store.record(key.room, key.agent, session_id)
        except Failure as problem:
            warn(f"{problem}; this conversation is not recorded")
