"""The sync daemon of a store: one process a host that has the connection, and follows what claudes
say.

It keeps no truth: what it does after a call or a hook has asked for it, another that was just
started could do as well. It answers each question at once, and ends when nobody has asked for ten
minutes and no claude lives on a conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib
import json
import os
import signal
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from shim.base import environment, times
from shim.base.session_key import is_session_id
from shim.claude import answers
from shim.fleet import (
    claude_watch,
    daemon_client,
    expiry,
    extra,
    host,
    notes,
    protocol,
    rooms,
    tls,
)
from shim.fleet.backend import AGREEMENT_TIMEOUT, Unavailable
from shim.fleet.claude_watch import ClaudeWatch
from shim.fleet.conversation import FleetConversation
from shim.fleet.local_locks import LocalLocks
from shim.fleet.log import Held
from shim.fleet.records import Hostile
from shim.fleet.snapshots import DamagedLog

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from shim.fleet.backend import Backend
    from shim.fleet.jetstream import JetStream
    from shim.fleet.protocol import Message

LOCK = "courier.lock"
LOG = "courier.log"
NEARLY_FULL = 0.8
"""Which part of the backend's space is taken when people are told."""

_IDLE_FOR = 600.0
_LOOKS_EVERY = 0.25
_SAYS_WAIT_EVERY = 0.5
_KEEPS_HOUSE_EVERY = 60.0
_CONNECTS_WITHIN = 3.0
# Seconds for which a turn's answer is waited for in the transcript, and where nothing says which.
_WRITES_WITHIN = 0.3
_WRITES_SOON = 0.12
_NAP = 0.005
_STARTS_WITHIN = 1.0
_REMEMBERS = 20
# Seconds that a conversation is given to come into the fleet, all of which was said here so far.
_FIRST_SYNC_TIMEOUT = 600.0
_HEARTBEAT_FIELDS = ("room", "agent", "session_id", "pid", "kind", "since")
# Of which the time is when a call has said last that space runs short.
_WARNED = "nearly-full"
_NO_BACKEND: dict[str, Any] = {
    "url": "",
    "is_reachable": False,
    "is_sealed": False,
    "why": "the library of the fleet is not installed",
    **dict.fromkeys(("version", "server", "is_cluster", "max_payload", "stream")),
}


class SyncDaemon:
    """The sync daemon of a store."""

    def __init__(self, store: str, this_host: host.Host, url: str) -> None:
        self._store = store
        self._this_host = this_host
        self._url = url
        self._key_file = environment.get("NSED_FLEET_KEY_FILE")
        self._backend: JetStream | None = None
        self._directory = notes.directory(store)
        self._local_locks = LocalLocks(store)
        self._conversations: dict[str, FleetConversation] = {}
        self._claude_watch = ClaudeWatch(self._on_claude_end)
        self._busy = 0
        self._last_asked = time.monotonic()
        self._since = times.now()
        self._failed: list[dict[str, Any]] = []
        self._over = asyncio.Event()
        # Set when a conversation was given back: other hosts are told at once.
        self._given_back = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._heartbeat: dict[str, Any] = {}
        # Which part of the backend's space is taken.
        self._space_used = 0.0

    async def run(self, listening: socket.socket) -> None:
        """Answer, and follow, until there is nothing to do any more."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._over.set)
        server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=protocol.LONGEST
        )
        self._start_backend()
        if self._backend is not None:
            for note in notes.due(self._directory):
                self._adopt_note(note)
        self._spawn(self._sync_loop())
        self._spawn(self._send_heartbeats())
        self._spawn(self._housekeep())
        await self._over.wait()
        # Whoever is started from now on waits for our lock.
        with contextlib.suppress(FileNotFoundError):  # the store was deleted
            os.unlink(protocol.SOCKET)
        server.close()
        for conversation in self._conversations.values():
            conversation.note.claudes = {
                str(pid): (kind, claude_watch.born(pid))
                for pid, kind in conversation.claudes.items()
            }
            conversation.remember()
        await self._retract_heartbeat()
        notes.tidy(self._directory)

    # What is asked.

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._busy += 1
        waits = asyncio.create_task(_say_wait(writer))
        try:
            answer = await self._answer(await reader.readline(), writer)
            waits.cancel()
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            pass  # who asked is gone
        except protocol.TooOld:
            self._over.set()  # who asked starts another, which is as new as he is
        finally:
            waits.cancel()
            self._busy -= 1
            self._last_asked = time.monotonic()
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> Message:
        try:
            if daemon_client.peer_of(writer.get_extra_info("socket")) != os.geteuid():
                return _alone("you are another user")
            asked = protocol.decode(line)
            answer = self._answers().get(str(asked.get("request")))
            self._require_version(asked)
            if answer is None:
                raise protocol.Misunderstood(str(asked.get("request")))
            if asked.get("fleet", self._url) != self._url:
                return _alone(
                    "the sync daemon has another NSED_FLEET_URL: `claude-shim fleet stop` ends it"
                )
            if asked.get("key_file", self._key_file) != self._key_file:
                return _alone(
                    "the sync daemon has another NSED_FLEET_KEY_FILE:"
                    " `claude-shim fleet stop` ends it"
                )
            if asked["request"] not in ("status", "stop"):
                self._require_extra()
            return await answer(asked)
        except protocol.TooOld:
            raise
        except (protocol.Misunderstood, KeyError, TypeError) as problem:
            return _alone(f"the sync daemon does not understand ({problem})")
        except Unavailable as problem:
            return _alone(str(problem))
        except (DamagedLog, Hostile) as problem:
            return _alone(f"what the fleet has of this conversation is damaged ({problem})")
        except OSError as problem:
            return _alone(f"{problem.filename or self._store}: {problem.strerror or problem}")
        except Exception as problem:
            traceback.print_exc()
            return _alone(f"the sync daemon has failed ({type(problem).__name__}: {problem})")

    def _require_version(self, asked: Message) -> None:
        """Make sure that who asks speaks as we do, or wants no more than our end.

        Raises Unavailable, protocol.TooOld.
        """
        version = asked["version"]
        if version > protocol.VERSION:
            raise protocol.TooOld
        if version < protocol.VERSION and asked.get("request") != "stop":
            raise Unavailable("the sync daemon is of a newer claude-shim: update this one")

    def _answers(self) -> dict[str, Callable[[Message], Awaitable[Message]]]:
        return {
            "begin": self._begin,
            "flush": self._flush,
            "link": self._link,
            "head": self._move_head,
            "drop": self._drop,
            "status": self._status,
            "rooms": self._rooms,
            "stop": self._stop,
        }

    async def _begin(self, asked: Message) -> Message:
        conversation = self._conversation(
            _session_id(asked["session_id"]), str(asked["room"]), str(asked["agent"])
        )
        with self._kept(conversation):
            return await self._begin_on(conversation, asked)

    async def _begin_on(self, conversation: FleetConversation, asked: Message) -> Message:
        conversation.transcript = os.path.realpath(str(asked["transcript"]))
        try:
            answer = await self._try_to_begin(conversation, asked)
        except (Unavailable, DamagedLog, Hostile):
            # It goes on here, and is appended when the backend is back.
            conversation.note.behind = conversation.is_alone = True
            self._add_claude(conversation, int(asked["pid"]), str(asked["kind"]))
            conversation.remember()
            raise
        if answer["answer"] == "granted":
            answer |= {"was_late": conversation.was_late, "space_taken": self._space_warning()}
            conversation.was_late, conversation.is_alone = "", False
        return answer

    async def _try_to_begin(self, conversation: FleetConversation, asked: Message) -> Message:
        """Begin, also where servers that have just lost their leader agree on another."""
        deadline = time.monotonic() + AGREEMENT_TIMEOUT
        while True:
            try:
                return await self._begin_now(conversation, asked)
            except Unavailable:
                backend = self._backend
                if backend is None or backend.is_here or time.monotonic() > deadline:
                    raise
                if not await backend.wait_until_ready():
                    raise

    async def _begin_now(self, conversation: FleetConversation, asked: Message) -> Message:
        room, agent, session_id = str(asked["room"]), str(asked["agent"]), conversation.session_id
        backend = await self._required_backend()
        head = None
        if not asked["is_chosen"]:
            head = await rooms.head(backend, room, agent, self._pending_moves())
            if head is not None and head != session_id:
                return {"answer": "other", "session_id": head}
        async with conversation.lock:
            held = await self._acquire(backend, conversation, asked)
            if held is not None:
                return await self._busy_answer(conversation, held)
            self._add_claude(conversation, int(asked["pid"]), str(asked["kind"]))
            if asked["moves_head"] and head != session_id:
                # First of all what was said there: a head without it would be a new beginning.
                await conversation.sync(_FIRST_SYNC_TIMEOUT)
                await rooms.move(backend, self._this_host, conversation.note, session_id)
        return {
            "answer": "granted",
            "session_id": session_id,
            "generation": conversation.log.generation,
        }

    def _space_warning(self) -> str:
        """Which part, where that is much, and for one call a day; else empty."""
        stamp = f"{self._directory}/{_WARNED}"
        is_said = self._space_used >= NEARLY_FULL and times.is_due(stamp, first=True)
        return f"{self._space_used:.0%}" if is_said else ""

    async def _acquire(
        self, backend: Backend, conversation: FleetConversation, asked: Message
    ) -> Held | None:
        """Take a conversation for who asks, or say who has it, having waited as asked."""
        pid, kind = int(asked["pid"]), str(asked["kind"])
        clock = asyncio.get_running_loop().time
        deadline = clock() + int(asked["waits"]) / 1000
        try:
            await conversation.acquire(pid, kind)
            return None
        except Held as held:
            if clock() >= deadline:
                return held
        async with backend.watch(conversation.log.conversation) as changed:
            while True:
                changed.clear()
                try:
                    await conversation.acquire(pid, kind)
                    return None
                except Held as held:
                    if clock() >= deadline:
                        return held
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), max(deadline - clock(), 0))

    async def _busy_answer(self, conversation: FleetConversation, held: Held) -> Message:
        holder = held.by.record.holder
        is_answering = await conversation.look(held.by.sequence)
        return {
            "answer": "busy",
            "hostname": holder.hostname,
            "kind": holder.kind,
            "since": held.by.time,
            "is_answering": is_answering,
        }

    async def _flush(self, asked: Message) -> Message:
        conversation = self._followed(asked)
        with self._kept(conversation):
            return await self._flush_of(conversation, asked["event"])

    async def _flush_of(self, conversation: FleetConversation, event: dict[str, Any]) -> Message:
        answer = event.get("last_assistant_message")
        await self._wait_for_answer(conversation, answer if isinstance(answer, str) else "")
        try:
            await self._required_backend()
            async with conversation.lock:
                await conversation.sync()
                conversation.remember()
        except Unavailable as problem:
            conversation.note.behind = True
            conversation.remember()
            self._note_failure(conversation, str(problem))
            if not conversation.is_alone:
                conversation.was_late = str(problem)
            raise
        return {"answer": "done"}

    async def _wait_for_answer(self, conversation: FleetConversation, answer: str) -> None:
        """Wait until a turn's answer is in the transcript, for as long as that may take."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + (_WRITES_WITHIN if answer else _WRITES_SOON)
        note = conversation.note
        while clock() < deadline:
            if answer:
                found = answers.end_of(conversation.transcript, answer, note.answered)
                if found is not None:
                    note.answered = found
                    return
            await asyncio.sleep(_NAP)

    async def _link(self, asked: Message) -> Message:
        """Follow the conversation that a turn begins in, and make it its room's head."""
        conversation = self._followed(asked)
        conversation.note.moves = True
        conversation.remember()
        with self._kept(conversation):
            backend = await self._required_backend()
            async with conversation.lock:
                await conversation.sync()
                await self._publish_heads(backend, conversation)
        return {"answer": "done"}

    def _followed(self, asked: Message) -> FleetConversation:
        """The conversation of a hook's event, which its claude is on from now on."""
        event = asked["event"]
        conversation = self._conversation(
            _session_id(event["session_id"]), str(asked["room"]), str(asked["agent"])
        )
        conversation.transcript = os.path.realpath(str(event["transcript_path"]))
        pid = int(asked["pid"])
        kind = next((c.claudes[pid] for c in self._conversations.values() if pid in c.claudes), "")
        for other in self._conversations.values():
            if other is not conversation:
                other.claudes.pop(pid, None)
        self._add_claude(conversation, pid, kind)
        return conversation

    async def _move_head(self, asked: Message) -> Message:
        note = notes.Note("", str(asked["room"]), str(asked["agent"]))
        backend = await self._required_backend()
        await rooms.move(backend, self._this_host, note, _session_id(asked["session_id"]))
        return {"answer": "done"}

    async def _drop(self, asked: Message) -> Message:
        backend = await self._required_backend()
        if asked["room"] or asked["agent"]:
            await backend.put_room(rooms.key(str(asked["room"]), str(asked["agent"])), None)
        if asked["session_id"]:
            return await self._delete(backend, _session_id(asked["session_id"]))
        return {"answer": "done"}

    async def _delete(self, backend: Backend, session_id: str) -> Message:
        """Delete a conversation on all hosts, unless a claude lives on it."""
        conversation = self._conversation(session_id)
        async with conversation.lock:
            try:
                await conversation.log.acquire(os.getpid(), "")
            except Held as held:
                self._let_go(conversation)
                return {"answer": "busy", "hostname": held.by.record.holder.hostname}
            if conversation.claudes:
                return {"answer": "busy", "hostname": self._this_host.hostname}
            await backend.purge(session_id)
            self._conversations.pop(session_id, None)
            notes.drop(self._directory, session_id)
        return {"answer": "done"}

    async def _status(self, _: Message) -> Message:
        backend = self._backend
        if backend is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(backend.was_tried.wait(), _CONNECTS_WITHIN)
        told = await backend.about() if backend is not None else _NO_BACKEND
        if told["stream"] is not None:
            self._space_used = told["stream"]["taken"]
        heartbeats: dict[str, dict[str, Any]] = {}
        if backend is not None and backend.is_here:
            with contextlib.suppress(Unavailable):
                heartbeats = await backend.heartbeats()
        elsewhere = [
            {**held, "host": name, "hostname": heartbeat.get("hostname")}
            for name, heartbeat in heartbeats.items()
            if name != self._this_host.host
            for held in heartbeat.get("held", ())
        ]
        followed = filter(_is_followed, self._conversations.values())
        conversations = [self._summary_of(each) for each in followed]
        return {
            "answer": "status",
            "host": self._this_host.host,
            "hostname": self._this_host.hostname,
            "pid": os.getpid(),
            "incarnation": self._this_host.incarnation,
            "since": self._since,
            "engine": told,
            "conversations": conversations,
            "behind": sum(each["behind"] for each in conversations),
            "failed_flushes": self._failed,
            "elsewhere": elsewhere,
        }

    async def _rooms(self, _: Message) -> Message:
        backend = await self._required_backend()
        holders = await backend.holders()
        found = await backend.rooms()
        for room in found:
            holder, since = holders.get(room["session_id"], (None, None))
            room |= {
                "host": holder and holder.host,
                "hostname": holder and holder.hostname,
                "since": since,
            }
        return {
            "answer": "rooms",
            "this": self._this_host.host,
            "rooms": found,
            "unreadable": sum(holder is None for holder, _ in holders.values()),
        }

    async def _stop(self, _: Message) -> Message:
        """End, once all is given back that no claude lives on: the machine may be gone next."""
        for conversation in list(self._conversations.values()):
            if not conversation.claudes:
                await self._maintain(conversation)
        asyncio.get_running_loop().call_soon(self._over.set)
        return {"answer": "done"}

    # What is followed.

    def _conversation(self, session_id: str, room: str = "", agent: str = "") -> FleetConversation:
        """The conversation of a session id, as far as it is known here."""
        conversation = self._conversations.get(session_id)
        if conversation is None:
            conversation = self._add(notes.read(self._directory, session_id))
        note = conversation.note
        note.room, note.agent = room or note.room, agent or note.agent
        return conversation

    def _add(self, note: notes.Note) -> FleetConversation:
        assert self._backend is not None
        added = FleetConversation(
            self._backend, self._this_host, self._store, self._local_locks, note, self._add_fork
        )
        self._conversations[note.session_id] = added
        return added

    def _adopt_note(self, note: notes.Note) -> None:
        """Follow the claudes that the sync daemon before has followed, and do what was to be
        done.
        """
        claudes, note.claudes = note.claudes, {}
        conversation = self._add(note)
        for pid, (kind, born) in claudes.items():
            if claude_watch.born(int(pid)) == born:
                self._add_claude(conversation, int(pid), kind)
            else:
                note.behind = True

    def _add_fork(self, note: notes.Note) -> None:
        self._add(note)

    @contextlib.contextmanager
    def _kept(self, conversation: FleetConversation) -> Iterator[None]:
        """Have a conversation followed at least as long as somebody asks for it."""
        conversation.asked_for += 1
        try:
            yield
        finally:
            conversation.asked_for -= 1
            self._let_go(conversation)

    def _let_go(self, conversation: FleetConversation) -> None:
        """Follow a conversation no longer, unless there is something to do for it yet."""
        if not _is_followed(conversation) and not conversation.was_late:
            self._conversations.pop(conversation.session_id, None)
            self._given_back.set()

    def _add_claude(self, conversation: FleetConversation, pid: int, kind: str) -> None:
        if self._claude_watch.watch(pid):
            conversation.claudes[pid] = kind or conversation.claudes.get(pid, "")
        else:
            conversation.note.behind = True

    def _on_claude_end(self, pid: int) -> None:
        """A claude has ended: what it has said last is yet to be appended."""
        for conversation in list(self._conversations.values()):
            if conversation.claudes.pop(pid, None) is not None:
                self._spawn(self._maintain(conversation))

    async def _sync_loop(self) -> None:
        while not self._over.is_set():
            self._claude_watch.look()
            for conversation in list(self._conversations.values()):
                if conversation.is_due():
                    self._spawn(self._maintain(conversation))
            if self._is_idle():
                self._over.set()
            await asyncio.sleep(_LOOKS_EVERY)

    async def _maintain(self, conversation: FleetConversation) -> None:
        """Append what is new, and give back what no claude lives on any more."""
        if self._backend is None or not self._backend.is_here:
            return
        async with conversation.lock:
            try:
                note = conversation.note
                if conversation.claudes or conversation.log.is_held or note.behind or note.moves:
                    await conversation.sync()
                await self._publish_heads(self._backend, conversation)
                if not conversation.claudes and (
                    conversation.log.is_held or conversation.note.fork
                ):
                    await conversation.finish()
            except Exception as problem:
                conversation.note.behind = True
                conversation.back_off()
                is_news = self._note_failure(conversation, str(problem))
                if is_news and not isinstance(problem, (Unavailable, DamagedLog, Hostile, OSError)):
                    traceback.print_exc()
            else:
                if notes.is_due(conversation.note) and not conversation.claudes:
                    conversation.back_off()
                else:
                    conversation.reset_backoff()
            if not conversation.claudes:
                self._let_go(conversation)

    async def _publish_heads(self, backend: Backend, conversation: FleetConversation) -> None:
        """Have the fleet know of a head that has moved, when it has what was said there.

        A conversation of which nothing was written, its claude having died, becomes nobody's head.
        """
        note = conversation.note
        if not note.moves and not note.is_fork:
            return
        if note.is_fork:
            await rooms.remember(backend, note)
        if note.moves and conversation.has_synced:
            await rooms.move(backend, self._this_host, note, note.session_id)
        elif not conversation.claudes and not os.path.exists(conversation.transcript):
            note.moves = False
        conversation.remember()

    def _is_idle(self) -> bool:
        """Whether nobody needs it any more; of a store that was deleted, nobody does."""
        if not os.path.isdir(self._store):
            return True
        has_work = any(each.claudes for each in self._conversations.values())
        return not self._busy and not has_work and time.monotonic() - self._last_asked > _IDLE_FOR

    def _summary_of(self, conversation: FleetConversation) -> dict[str, Any]:
        pid, kind = next(iter(conversation.claudes.items()), (0, ""))
        return {
            "room": conversation.note.room,
            "agent": conversation.note.agent,
            "session_id": conversation.session_id,
            "pid": pid,
            "kind": kind,
            "transcript": conversation.transcript,
            "since": conversation.since,
            "behind": conversation.behind(),
            "is_fenced": conversation.is_fenced,
            "fork": conversation.note.fork,
            "is_held": conversation.log.is_held,
        }

    def _note_failure(self, conversation: FleetConversation, why: str) -> bool:
        """Remember why something was not appended, for `ps` and `doctor`; whether it is news."""
        note = conversation.note
        told = {"session_id": note.session_id, "room": note.room, "agent": note.agent, "why": why}
        is_news = not self._failed or {**self._failed[-1], "when": ""} != {**told, "when": ""}
        if is_news:
            self._failed = [*self._failed, {**told, "when": times.now()}][-_REMEMBERS:]
        return is_news

    def _pending_moves(self) -> list[notes.Note]:
        """The heads that have moved, of which the fleet has not heard yet."""
        return [
            each.note
            for each in self._conversations.values()
            if each.note.moves and os.path.exists(each.transcript)
        ]

    # The backend, and heartbeats.

    def _start_backend(self) -> None:
        if not extra.is_installed():
            return
        from shim.fleet.jetstream import JetStream  # it imports what the extra brings

        credentials = environment.get("NSED_FLEET_CREDS")
        self._backend = JetStream(self._url, credentials, self._key_file, tls.files())
        self._spawn(self._backend.run())

    def _require_extra(self) -> None:
        """Make sure that there is a backend, here or not. Raises Unavailable."""
        if self._backend is None:
            importlib.invalidate_caches()
            self._start_backend()
        if self._backend is None:
            raise Unavailable(f"the library of the fleet is not installed: `{extra.how_to_add()}`")

    async def _required_backend(self) -> Backend:
        """The backend, once it was tried. Raises Unavailable."""
        assert self._backend is not None
        await self._backend.heed_keys()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._backend.was_tried.wait(), _CONNECTS_WITHIN)
        if not self._backend.is_here:
            raise Unavailable(self._backend.why)
        return self._backend

    async def _send_heartbeats(self) -> None:
        """Say that this host lives, and what it has, three times in a sign's life."""
        last = 0.0
        while True:
            backend = self._backend
            if backend is not None and backend.is_here:
                held = [
                    {
                        name: it
                        for name, it in self._summary_of(each).items()
                        if name in _HEARTBEAT_FIELDS
                    }
                    for each in self._conversations.values()
                    if each.log.is_held
                ]
                heartbeat = {
                    "hostname": self._this_host.hostname,
                    "incarnation": self._this_host.incarnation,
                    "held": held,
                }
                is_due = time.monotonic() - last > backend.life / 3
                if is_due or heartbeat != self._heartbeat:
                    with contextlib.suppress(Unavailable):
                        await backend.put_heartbeat(self._this_host.host, heartbeat)
                        self._heartbeat, last = heartbeat, time.monotonic()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._given_back.wait(), _LOOKS_EVERY)
            self._given_back.clear()

    async def _housekeep(self) -> None:
        """Look once in a while how much space is left, and once a day for what is too old."""
        while True:
            backend = self._backend
            is_here = backend is not None and backend.is_here
            if backend is not None and is_here:
                with contextlib.suppress(Unavailable, Hostile):
                    self._space_used = await backend.space_used()
                    if self._heartbeat and expiry.is_due(self._directory):
                        await expiry.forget(backend, self._this_host, expiry.days())
            await asyncio.sleep(_KEEPS_HOUSE_EVERY if is_here else _LOOKS_EVERY)

    async def _retract_heartbeat(self) -> None:
        if self._backend is None or not self._backend.is_here:
            return
        if not any(each.log.is_held for each in self._conversations.values()):
            with contextlib.suppress(Unavailable):
                await self._backend.put_heartbeat(self._this_host.host, None)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def main() -> None:
    """Be the sync daemon of the store that the command line names, unless another is."""
    (store,) = sys.argv[1:]
    os.umask(0o077)
    os.chdir(store)
    if not _is_the_one():
        return
    listening = _listen()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 2)
    try:
        this_host = host.identify(store, notes.directory(store))
        daemon_url = environment.get("NSED_FLEET_URL")
        asyncio.run(_run(store, this_host, daemon_url, listening))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(protocol.SOCKET)


async def _run(store: str, this_host: host.Host, url: str, listening: socket.socket) -> None:
    await SyncDaemon(store, this_host, url).run(listening)


def _is_the_one() -> bool:
    """Whether this process has the sync daemon's lock now: it is given up only by its end."""
    file = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _STARTS_WITHIN
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)  # for who has to end it by force
            return True
        except BlockingIOError:
            if os.path.exists(protocol.SOCKET) or time.monotonic() > deadline:
                return False
            time.sleep(_NAP)


def _listen() -> socket.socket:
    import socket

    with contextlib.suppress(FileNotFoundError):
        os.unlink(protocol.SOCKET)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listening.bind(protocol.SOCKET)
    os.chmod(protocol.SOCKET, 0o600)
    listening.listen(128)
    return listening


async def _say_wait(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(protocol.WAIT)
        await asyncio.sleep(_SAYS_WAIT_EVERY)


def _is_followed(conversation: FleetConversation) -> bool:
    """Whether there is, or may soon be, something to do for it."""
    return bool(
        conversation.claudes
        or conversation.asked_for
        or conversation.log.is_held
        or notes.is_due(conversation.note)
    )


def _alone(why: str) -> Message:
    return {"answer": "alone", "why": why}


def _session_id(value: object) -> str:
    if not isinstance(value, str) or not is_session_id(value):
        raise protocol.Misunderstood("no session id")
    return value
