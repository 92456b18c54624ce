"""Who runs: the claudes that hold locks, those that wait for them, and those without."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.base.session_key import SessionKey, named_key
from shim.claude import invocation, registry, transcripts
from shim.locks import record_lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import psutil

    from shim.claude.invocation import Invocation

ONE_SHOT, STREAMING, INTERACTIVE = "one-shot", "streaming", "interactive"
BACKGROUND = "background"


@dataclass(frozen=True)
class HeldLock:
    """Who holds the lock of a room and agent, and who waits for it."""

    pid: int
    """0 where the system can't say: a process in another container."""
    is_long_running: bool
    """Whether its run is streaming or interactive, rather than over soon."""
    waiting: tuple[int, ...] = ()
    """The pids of those in line, the first first."""


class HeldLocks:
    """The locks of a store that are held, of all its rooms and agents, and of conversations."""

    def __init__(self, by_start: Mapping[int, HeldLock]) -> None:
        self._by_start = by_start

    def for_conversation(self, session_id: str) -> HeldLock | None:
        """Who holds the lock of a conversation."""
        return self._by_start.get(record_lock.conversation_offset(session_id))

    def for_key_and_conversation(self, room: str, agent: str, session_id: str) -> list[HeldLock]:
        """Who holds the lock of a room and agent, and who else that of their conversation."""
        of_key = self.for_key(room, agent)
        of_conversation = self.for_conversation(session_id)
        if of_key is None or of_conversation is None or of_key.pid == of_conversation.pid:
            return [holder for holder in (of_key or of_conversation,) if holder]
        return [of_key, of_conversation]

    def for_key(self, room: str, agent: str) -> HeldLock | None:
        """Who holds the lock of a room and agent, as the store names them."""
        if not self._by_start:
            return None
        return self._by_start.get(record_lock.key_offset(room, agent))

    def except_keys(
        self, keys: Iterable[tuple[str, str]]
    ) -> list[tuple[SessionKey | None, HeldLock]]:
        """Those whose room and agent are none of these, with the names they go by themselves."""
        known = {record_lock.key_offset(*key) for key in keys}
        found = []
        for start, holder in self._by_start.items():
            if start not in known and not record_lock.is_of_conversation(start):
                key = key_of(holder.pid)
                is_its = key is not None and record_lock.key_offset(key.room, key.agent) == start
                found.append((key if is_its else None, holder))
        return found

    def __bool__(self) -> bool:
        return bool(self._by_start)


class Presence:
    """Who is live for the rooms and agents of a store, with a lock or without."""

    def __init__(self, holders: HeldLocks, conversations: Mapping[int, str]) -> None:
        """`conversations` is what `registry.conversations` says."""
        self._holders = holders
        self._by_conversation = {session_id: pid for pid, session_id in conversations.items()}

    def on(self, room: str, agent: str, session_id: str) -> int | None:
        """The pid of a claude that holds the lock or is on the conversation, or None.

        It is 0 where the system can't say.
        """
        own = self._holders.for_key_and_conversation(room, agent, session_id)
        return own[0].pid if own else self._by_conversation.get(session_id)


@dataclass(frozen=True)
class Process:
    """A claude's process, as far as the system knows."""

    pid: int
    kind: str
    """`one-shot`, `streaming`, `interactive` or `background`: the way it runs."""
    since: float
    """When it started, in seconds of the system's clock."""
    memory: int
    """The bytes of memory that it has, without its children's."""
    directory: str | None
    """Where it works."""
    forked_from: str | None = None
    """The conversation that it was forked from as it was started, if it was."""


@dataclass(frozen=True)
class Claude:
    """A claude that is live for a room and agent."""

    pid: int
    is_long_running: bool | None
    """What its lock says; None where it is unmanaged, as it has no lock."""
    waiting: tuple[int, ...]
    """The pids of those who wait for its lock, the first in line first."""
    process: Process | None

    @property
    def is_unmanaged(self) -> bool:
        """Whether it is live on the conversation without holding the lock."""
        return self.is_long_running is None

    @property
    def kind(self) -> str | None:
        """The way it runs, or None where nobody can tell."""
        if self.process is not None:
            return self.process.kind
        return ONE_SHOT if self.is_long_running is False else None


def held_locks(directory: str) -> HeldLocks:
    """The locks that are held in a store's directory. Costs nothing for keys without one.

    Must not be called by a process that holds a lock: looking releases it. Raises OSError where the
    filesystem has no locks.
    """
    found = {}
    for start, (holder, line) in record_lock.all_held(directory).items():
        if holder is None:  # its holder has just died: the first in line has it in a moment
            holder, line = record_lock.Holder(line[0], is_long_running=False), line[1:]
        found[start] = HeldLock(holder.pid, holder.is_long_running, tuple(line))
    return HeldLocks(found)


def presence(directory: str) -> Presence:
    """Who is live for a store now. As `held_locks` otherwise."""
    return Presence(held_locks(directory), registry.conversations())


def claudes(holders: Iterable[HeldLock], strange: Iterable[int]) -> list[Claude]:
    """The claudes that hold a lock and the unmanaged ones, in this order."""
    own = [
        Claude(h.pid, h.is_long_running, h.waiting, process(h.pid, h.is_long_running))
        for h in holders
    ]
    return own + [Claude(pid, None, (), process(pid)) for pid in strange]


def unmanaged(holders: Iterable[HeldLock], session_id: str, live: Mapping[int, str]) -> list[int]:
    """The pids of claudes that are live on a conversation without holding its lock.

    `live` is what `registry.conversations` says.
    """
    on_it = [pid for pid, conversation in live.items() if conversation == session_id]
    # Some installations of claude are a script that waits for a child, which is the real one.
    own = {holder.pid for holder in holders}
    return [pid for pid in on_it if own.isdisjoint(_lineage(pid))]


def process(pid: int, is_long_running: bool | None = None) -> Process | None:
    """What the system knows of a claude; None where it is gone, or another user's.

    `is_long_running` is what its lock says, if it holds one.
    """
    import psutil

    try:
        claude = psutil.Process(pid)
        with claude.oneshot():
            args = claude.cmdline()[1:]
            since, memory = claude.create_time(), claude.memory_info().rss
        asked = invocation.read(args)
        kind = BACKGROUND if registry.is_in_background(pid) else _kind(asked, is_long_running)
        return Process(pid, kind, since, memory, _directory(claude), _parent(asked))
    except (psutil.Error, ValueError):
        return None


def key_of(pid: int) -> SessionKey | None:
    """The room and agent in a process's environment, or None where nobody can tell."""
    import psutil

    try:
        environ = psutil.Process(pid).environ()
    except (psutil.Error, ValueError):
        return None
    return named_key({os.fsencode(name): os.fsencode(value) for name, value in environ.items()})


def _parent(asked: Invocation) -> str | None:
    """The session id of the conversation that a command line forks."""
    resumed = asked.value("--resume")
    if not resumed or not asked.has("--fork-session"):
        return None
    return transcripts.session_id_of(resumed)


def _kind(asked: Invocation, is_long_running: bool | None) -> str:
    if asked.value("--input-format") == "stream-json":
        return STREAMING
    if is_long_running is None:
        is_long_running = not asked.has("--print")
    return INTERACTIVE if is_long_running else ONE_SHOT


def _directory(claude: psutil.Process) -> str | None:
    import psutil

    try:
        return claude.cwd()
    except psutil.Error:
        return None


def _lineage(pid: int) -> list[int]:
    """A process and those it descends from."""
    import psutil

    try:
        return [pid, *(parent.pid for parent in psutil.Process(pid).parents())]
    except psutil.Error:
        return [pid]
