"""The conversations that a sync daemon follows, the claudes on them, and what is owed to the fleet.

Nothing here is truth: from the notes and the kept questions, the next daemon does as well.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import traceback
from typing import TYPE_CHECKING, Any

from shim.base import environment, times
from shim.base.messages import Failure
from shim.base.session_key import is_session_id
from shim.fleet import (
    claude_watch,
    event_wait,
    extra,
    forking,
    notes,
    protocol,
    rooms,
    shared_forks,
    tls,
    unanswered,
)
from shim.fleet.backend import Unavailable
from shim.fleet.claude_watch import ClaudeWatch
from shim.fleet.conversation import FleetConversation, Surroundings
from shim.fleet.local_locks import LocalLocks
from shim.fleet.notes import ForkState
from shim.fleet.records import Hostile
from shim.fleet.snapshots import DamagedLog
from shim.locks.live_claudes import ONE_SHOT

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Iterator

    from shim.fleet.backend import Backend
    from shim.fleet.host import Host
    from shim.fleet.jetstream import JetStream
    from shim.fleet.protocol import Message

_FAILURES_KEPT = 20
_HEARTBEAT_FIELDS = ("room", "agent", "session_id", "pid", "kind", "since")
# A process that has started later than this behind a question is not the one that asked.
_CLOCK_SLACK = 1.0
# Seconds after which news of a room is asked for that nobody has reported, and between tries.
_NEWS_INTERVAL, _NEWS_RETRY = 30.0, 1.0


class Roster:
    """The conversations of a store that somebody asks for, lives on, or owes something of."""

    def __init__(self, store: str, this_host: Host) -> None:
        self.store = store
        self.this_host = this_host
        self.directory = notes.directory(store)
        self.url = environment.get("NSED_FLEET_URL")
        self.backend: JetStream | None = None
        # Turns whose answer was seen before the fleet had them, and still has not.
        self.failures: list[dict[str, Any]] = []
        # Set when a lease was released: other hosts learn of it at once.
        self.has_released = asyncio.Event()
        self._local_locks = LocalLocks(store)
        self._conversations: dict[str, FleetConversation] = {}
        self._watch = ClaudeWatch(self._on_claude_end)
        self._tasks: set[asyncio.Task[None]] = set()
        # What waits for news of others, by the conversation that a claude lives on.
        self._waiting: dict[str, asyncio.Task[None]] = {}
        self._questions_seen = 0
        # Forks of this host that the head may still lack turns of.
        self._listed: dict[str, notes.Note] = {}

    def __iter__(self) -> Iterator[FleetConversation]:
        return iter(list(self._conversations.values()))

    # The backend.

    def start_backend(self) -> bool:
        """Start to connect, unless that was done; returns False where the extra is missing."""
        if self.backend is not None:
            return True
        importlib.invalidate_caches()
        if not extra.is_installed():
            return False
        from shim.fleet.jetstream import JetStream  # it imports what the extra brings

        self.backend = JetStream(
            self.url,
            environment.get("NSED_FLEET_CREDS"),
            environment.get("NSED_FLEET_KEY_FILE"),
            tls.files(),
        )
        self.spawn(self.backend.run())
        return True

    async def ready_backend(self) -> Backend:
        """The backend, once it is ready. Raises Unavailable."""
        if not self.start_backend() or self.backend is None:
            raise Unavailable(f"the library of the fleet is not installed: `{extra.how_to_add()}`")
        await self.backend.heed_keys()
        if not await self.backend.wait_until_ready():
            raise Unavailable(self.backend.why)
        return self.backend

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something beside everything else."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Which conversations are followed.

    def find(self, session_id: str, room: str = "", agent: str = "") -> FleetConversation:
        """The conversation of a session id, followed from now on."""
        conversation = self._conversations.get(session_id)
        if conversation is None:
            conversation = self._add(notes.read(self.directory, session_id))
        note = conversation.note
        note.room, note.agent = room or note.room, agent or note.agent
        return conversation

    @contextlib.contextmanager
    def kept(self, conversation: FleetConversation) -> Iterator[None]:
        """Inside the block, a conversation is followed: somebody asks for it."""
        conversation.pending_requests += 1
        try:
            yield
        finally:
            conversation.pending_requests -= 1
            self.drop_if_done(conversation)

    def drop_if_done(self, conversation: FleetConversation) -> None:
        """Follow a conversation no longer, unless there may be something to do for it."""
        if not is_followed(conversation) and not conversation.was_late:
            self.forget(conversation)

    def forget(self, conversation: FleetConversation) -> None:
        """Follow a conversation no longer."""
        note = conversation.note
        self._conversations.pop(note.session_id, None)
        if note.fork_state is ForkState.LISTED:
            self._listed[note.session_id] = note
        self.has_released.set()

    def _add(self, note: notes.Note) -> FleetConversation:
        assert self.backend is not None
        surroundings = Surroundings(
            self.backend, self.this_host, self.store, self._local_locks, self._add_fork
        )
        added = self._conversations[note.session_id] = FleetConversation(surroundings, note)
        return added

    def _add_fork(self, note: notes.Note) -> None:
        self._add(note)

    def adopt(self) -> None:
        """Follow what daemons before this one have followed, or have not finished."""
        for note in notes.due(self.directory):
            if note.session_id in self._conversations:
                continue
            if not note.is_unfinished:
                self._listed[note.session_id] = note
                continue
            claudes, note.claudes = note.claudes, {}
            conversation = self._add(note)
            for pid, (kind, started) in claudes.items():
                if claude_watch.start_time(int(pid)) == started:
                    self.add_claude(conversation, int(pid), kind)
                else:
                    note.owes_data = True

    def adopt_unanswered(self) -> None:
        """Take the questions that no daemon has answered, as if they were asked now."""
        if self.backend is None:
            return
        changed_at = unanswered.changed_at(self.store)
        if changed_at == self._questions_seen:
            return
        # As of before the look: a question that comes meanwhile is found by the next one.
        self._questions_seen = changed_at
        for path, line, asked_at in list(unanswered.all_kept(self.store)):
            try:
                asked = protocol.decode(line)
                if asked.get("fleet", self.url) != self.url:
                    continue
                self._adopt_question(asked, asked_at)
            except (protocol.Misunderstood, KeyError, TypeError, ValueError):
                traceback.print_exc()
            os.unlink(path)

    def _adopt_question(self, asked: Message, asked_at: float) -> None:
        event = asked.get("event") or {
            "session_id": asked["session_id"],
            "transcript_path": asked["transcript"],
        }
        session_id = required_session_id(event["session_id"])
        conversation = self.find(session_id, str(asked["room"]), str(asked["agent"]))
        conversation.follow_to(str(event["transcript_path"]))
        pid = int(asked["pid"])
        started = claude_watch.start_time(pid)
        if started is not None and started < asked_at + _CLOCK_SLACK:
            self.add_claude(conversation, pid, str(asked.get("kind", "")))
        note = conversation.note
        note.owes_data = True
        note.owes_head = note.owes_head or bool(asked.get("moves_head"))
        note.owes_move = note.owes_move or asked["request"] == "link"
        conversation.remember()

    # The claudes.

    def add_claude(self, conversation: FleetConversation, pid: int, kind: str) -> None:
        """Note that a claude lives on a conversation; one that has ended leaves data to send."""
        if self._watch.watch(pid):
            conversation.claudes[pid] = kind or conversation.claudes.get(pid, "")
            if kind != ONE_SHOT:
                self._wait_for_news(conversation)
        else:
            conversation.note.owes_data = True

    def move_claude(self, asked: Message) -> FleetConversation:
        """The conversation of a hook's event, which is the one that its claude is on now."""
        event, pid = asked["event"], int(asked["pid"])
        session_id = required_session_id(event["session_id"])
        conversation = self.find(session_id, str(asked["room"]), str(asked["agent"]))
        conversation.follow_to(str(event["transcript_path"]))
        kind = next((each.claudes[pid] for each in self if pid in each.claudes), "")
        for other in self:
            if other is not conversation and other.claudes.pop(pid, None) is not None:
                self._stop_waiting(other)
        self.add_claude(conversation, pid, kind)
        return conversation

    @property
    def has_claudes(self) -> bool:
        """Whether a claude lives on any of the conversations."""
        return any(each.claudes for each in self)

    @property
    def is_in_use(self) -> bool:
        """Whether a claude lives on a conversation, or somebody asks for one."""
        return any(each.claudes or each.pending_requests for each in self)

    def _on_claude_end(self, pid: int) -> None:
        """Send what a claude has written last."""
        for conversation in self:
            if conversation.claudes.pop(pid, None) is not None:
                self._stop_waiting(conversation)
                self.spawn(self.maintain(conversation))

    # What is to be done.

    def maintain_due(self) -> None:
        """Start whatever there is to do for the conversations now."""
        self._watch.poll()
        self.adopt_unanswered()
        for conversation in self:
            if conversation.is_due():
                self.spawn(self.maintain(conversation))

    async def maintain(self, conversation: FleetConversation) -> None:
        """Append what is new, and release the lease once no claude lives on the conversation."""
        if self.backend is None or not self.backend.is_here:
            return
        async with conversation.lock:
            try:
                if conversation.claudes or conversation.log.is_held or conversation.note.owes:
                    await conversation.sync()
                await self.publish(self.backend, conversation)
                if not conversation.claudes:
                    await self.share(self.backend, conversation)
                    if conversation.log.is_held or conversation.note.fork:
                        await conversation.finish()
            except Exception as problem:
                conversation.note.owes_data = True
                conversation.back_off()
                is_news = self.note_failure(conversation, str(problem))
                known = (Unavailable, DamagedLog, Hostile, OSError)
                if is_news and not isinstance(problem, known):
                    traceback.print_exc()
            else:
                self._note_success(conversation)
                if conversation.note.owes and not conversation.claudes:
                    conversation.back_off()
                else:
                    conversation.reset_back_off()
            if not conversation.claudes:
                self.drop_if_done(conversation)

    async def publish(self, backend: Backend, conversation: FleetConversation) -> None:
        """Register what its room does not know yet, once its log has the turns.

        A conversation that nothing was written to, its claude having died, is never registered.
        """
        note = conversation.note
        if not (note.owes_move or note.owes_head):
            return
        if conversation.has_synced:
            if note.owes_move:
                await rooms.move(backend, self.this_host, note, note.session_id)
            elif note.owes_head:
                await self._register(backend, note)
        elif not conversation.claudes and not os.path.exists(conversation.transcript):
            note.owes_move = note.owes_head = False
        conversation.remember()

    async def _register(self, backend: Backend, note: notes.Note) -> None:
        """Register a room that began without the fleet; where it has another head, as a fork."""
        head = await rooms.register(backend, self.this_host, note)
        if head != note.session_id and note.fork_state is None:
            note.fork_of = head
            note.fork_state = ForkState.STORED
            with contextlib.suppress(OSError, Failure):
                forking.mark(self.store, note, note.transcript)

    async def share(self, backend: Backend, conversation: FleetConversation) -> None:
        """List a conversation that is a fork, and close those that it has all of.

        The caller holds its `lock`, and has just synced it. Raises Unavailable.
        """
        await shared_forks.share(backend, self.this_host, self.store, conversation)

    async def fetch_forks(self, asking: FleetConversation, forks: Iterable[rooms.Fork]) -> None:
        """Fetch the forks of a room's head, for the head or for another fork of it."""
        for fork in forks:
            if any(each.note.fork == fork.session_id for each in self):
                continue  # a claude of this host lives on it, in the file of another session id
            its = self.find(fork.session_id, asking.note.room, asking.note.agent)
            with self.kept(its):
                async with its.lock:
                    await shared_forks.fetch(self.store, its, asking, fork)

    def _wait_for_news(self, conversation: FleetConversation) -> None:
        task = self._waiting.get(conversation.session_id)
        if (task is None or task.done()) and conversation.note.room:
            waiting = self.spawn(self._fetch_news(conversation))
            self._waiting[conversation.session_id] = waiting

    def _stop_waiting(self, conversation: FleetConversation) -> None:
        task = self._waiting.get(conversation.session_id)
        if task is not None and not conversation.claudes:
            del self._waiting[conversation.session_id]
            task.cancel()

    async def _fetch_news(self, conversation: FleetConversation) -> None:
        """While claudes live on a conversation, fetch what other hosts say in its room.

        Their hooks tell them of what is here.
        """
        note, name = conversation.note, rooms.key(conversation.note.room, conversation.note.agent)
        while True:
            backend = self.backend
            if backend is None or not backend.is_here:
                await asyncio.sleep(_NEWS_RETRY)
                continue
            head = shared_forks.head_of(self.store, note.session_id)
            other = head if head != note.session_id else ""
            with contextlib.suppress(Unavailable):
                async with backend.watch(conversation=other, room=name) as changed:
                    if other:
                        await self._fetch_head(conversation, other)
                    found = await rooms.head(backend, note.room, note.agent, ())
                    if found.session_id == head:
                        forks = [it for it in found.forks if it.session_id != note.session_id]
                        await self.fetch_forks(conversation, forks)
                    await event_wait.wait(changed, _NEWS_INTERVAL)

    async def _fetch_head(self, fork: FleetConversation, head: str) -> None:
        """Fetch the head of a fork, unless a claude of this host has it."""
        its = self.find(head, fork.note.room, fork.note.agent)
        with self.kept(its):
            async with its.lock:
                await shared_forks.fetch_head(its, fork)

    async def verify_forks(self) -> None:
        """Make sure that rooms list the forks of this host until the head has all of them.

        A host with version 0.2 drops them when it moves the head. Raises Unavailable.
        """
        for note in list(self._listed.values()):
            backend = await self.ready_backend()
            found = await rooms.find_fork(backend, note)
            if found is None:
                await rooms.list_fork(backend, self.this_host, note, note.session_id, note.listed)
            elif not found.is_open:
                note.fork_state = ForkState.OVER
                if note.session_id not in self._conversations:
                    notes.write(self.directory, note)
                self._listed.pop(note.session_id, None)

    def pending_moves(self) -> list[notes.Note]:
        """The heads that have moved here, which the fleet does not know yet."""
        return [
            each.note for each in self if each.note.owes_move and os.path.exists(each.transcript)
        ]

    def remember_all(self) -> None:
        """Write all notes, for the next daemon."""
        for conversation in self:
            conversation.remember()

    # What is reported.

    def note_failure(self, conversation: FleetConversation, why: str) -> bool:
        """Note why something was not sent; returns whether that is news."""
        note = conversation.note
        failure = {
            "session_id": note.session_id,
            "room": note.room,
            "agent": note.agent,
            "why": why,
        }
        last = self.failures[-1] if self.failures else {}
        is_news = {**last, "when": ""} != {**failure, "when": ""}
        if is_news:
            self.failures = [*self.failures, {**failure, "when": times.now()}][-_FAILURES_KEPT:]
        return is_news

    def _note_success(self, conversation: FleetConversation) -> None:
        """Forget the failures of a conversation, of which the fleet has everything now."""
        if not conversation.note.owes and conversation.lag() == 0:
            done = conversation.session_id
            self.failures = [each for each in self.failures if each["session_id"] != done]

    def summaries(self) -> list[dict[str, Any]]:
        """The conversations, as `status` reports them."""
        return [_summary(each) for each in self if is_followed(each)]

    def held(self) -> list[dict[str, Any]]:
        """The conversations that this host holds, as its heartbeat reports them."""
        return [
            {name: it for name, it in _summary(each).items() if name in _HEARTBEAT_FIELDS}
            for each in self
            if each.log.is_held
        ]


def is_followed(conversation: FleetConversation) -> bool:
    """Whether there is, or may soon be, something to do for a conversation."""
    return bool(
        conversation.claudes
        or conversation.pending_requests
        or conversation.log.is_held
        or conversation.note.is_unfinished
    )


def required_session_id(value: object) -> str:
    """A value that is a session id. Raises Misunderstood."""
    if not isinstance(value, str) or not is_session_id(value):
        raise protocol.Misunderstood("no session id")
    return value


def _summary(conversation: FleetConversation) -> dict[str, Any]:
    pid, kind = next(iter(conversation.claudes.items()), (0, ""))
    return {
        "room": conversation.note.room,
        "agent": conversation.note.agent,
        "session_id": conversation.session_id,
        "pid": pid,
        "kind": kind,
        "transcript": conversation.transcript,
        "since": conversation.since,
        "behind": conversation.lag(),
        "is_fenced": conversation.note.fork is not None,
        "fork": conversation.note.fork,
        "is_held": conversation.log.is_held,
    }
