"""The courier of a store: one process a host that has the connection, and follows what claudes say.

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
    extra,
    host,
    notes,
    protocol,
    retention,
    rooms,
    tls,
)
from shim.fleet.backend import AGREES_WITHIN, Unavailable
from shim.fleet.claude_watch import Lives
from shim.fleet.conversation import Conversation
from shim.fleet.local_locks import Leases
from shim.fleet.log import Taken
from shim.fleet.records import Hostile
from shim.fleet.snapshots import Damaged

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable, Iterator

    from shim.fleet.backend import Backend
    from shim.fleet.jetstream import JetStream
    from shim.fleet.protocol import Message

LOCK = "courier.lock"
LOG = "courier.log"
NEARLY_FULL = 0.8
"""Which part of the engine's space is taken when people are told."""

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
_PATIENCE_AT_FIRST = 600.0
_TOLD = ("room", "agent", "session_id", "pid", "kind", "since")
# Of which the time is when a call has said last that space runs short.
_WARNED = "nearly-full"
_NO_ENGINE: dict[str, Any] = {
    "url": "",
    "is_reachable": False,
    "is_sealed": False,
    "why": "the library of the fleet is not installed",
    **dict.fromkeys(("version", "server", "is_cluster", "max_payload", "stream")),
}


class SyncDaemon:
    """The courier of a store."""

    def __init__(self, store: str, us: host.Host, url: str) -> None:
        self._store = store
        self._us = us
        self._url = url
        self._key_file = environment.get("NSED_FLEET_KEY_FILE")
        self._engine: JetStream | None = None
        self._directory = notes.directory(store)
        self._leases = Leases(store)
        self._conversations: dict[str, Conversation] = {}
        self._lives = Lives(self._forget_claude)
        self._busy = 0
        self._last_asked = time.monotonic()
        self._since = times.now()
        self._failed: list[dict[str, Any]] = []
        self._over = asyncio.Event()
        # Set when a conversation was given back: other hosts are told at once.
        self._given_back = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._sign: dict[str, Any] = {}
        # Which part of the engine's space is taken.
        self._taken = 0.0

    async def run(self, listening: socket.socket) -> None:
        """Answer, and follow, until there is nothing to do any more."""
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._over.set)
        server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=protocol.LONGEST
        )
        self._start_engine()
        if self._engine is not None:
            for note in notes.due(self._directory):
                self._take_over(note)
        self._spawn(self._keep_up())
        self._spawn(self._give_signs())
        self._spawn(self._keep_house())
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
        await self._say_goodbye()
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
                    "the courier has another NSED_FLEET_URL: `claude-shim fleet stop` ends it"
                )
            if asked.get("key_file", self._key_file) != self._key_file:
                return _alone(
                    "the courier has another NSED_FLEET_KEY_FILE: `claude-shim fleet stop` ends it"
                )
            if asked["request"] not in ("status", "stop"):
                self._require_extra()
            return await answer(asked)
        except protocol.TooOld:
            raise
        except (protocol.Misunderstood, KeyError, TypeError) as problem:
            return _alone(f"the courier does not understand ({problem})")
        except Unavailable as problem:
            return _alone(str(problem))
        except (Damaged, Hostile) as problem:
            return _alone(f"what the fleet has of this conversation is damaged ({problem})")
        except OSError as problem:
            return _alone(f"{problem.filename or self._store}: {problem.strerror or problem}")
        except Exception as problem:
            traceback.print_exc()
            return _alone(f"the courier has failed ({type(problem).__name__}: {problem})")

    def _require_version(self, asked: Message) -> None:
        """Make sure that who asks speaks as we do, or wants no more than our end.

        Raises Away, protocol.TooOld.
        """
        version = asked["version"]
        if version > protocol.VERSION:
            raise protocol.TooOld
        if version < protocol.VERSION and asked.get("request") != "stop":
            raise Unavailable("the courier is of a newer claude-shim: update this one")

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
        conversation = self._of(
            _session_id(asked["session_id"]), str(asked["room"]), str(asked["agent"])
        )
        with self._kept(conversation):
            return await self._begin_on(conversation, asked)

    async def _begin_on(self, conversation: Conversation, asked: Message) -> Message:
        conversation.transcript = os.path.realpath(str(asked["transcript"]))
        try:
            answer = await self._try_to_begin(conversation, asked)
        except (Unavailable, Damaged, Hostile):
            # It goes on here, and is appended when the engine is back.
            conversation.note.behind = conversation.is_alone = True
            self._live_on(conversation, int(asked["pid"]), str(asked["kind"]))
            conversation.remember()
            raise
        if answer["answer"] == "granted":
            answer |= {"was_late": conversation.was_late, "space_taken": self._space_taken()}
            conversation.was_late, conversation.is_alone = "", False
        return answer

    async def _try_to_begin(self, conversation: Conversation, asked: Message) -> Message:
        """Begin, also where servers that have just lost their leader agree on another."""
        deadline = time.monotonic() + AGREES_WITHIN
        while True:
            try:
                return await self._begin_now(conversation, asked)
            except Unavailable:
                backend = self._engine
                if backend is None or backend.is_here or time.monotonic() > deadline:
                    raise
                if not await backend.settle():
                    raise

    async def _begin_now(self, conversation: Conversation, asked: Message) -> Message:
        room, agent, session_id = str(asked["room"]), str(asked["agent"]), conversation.session_id
        backend = await self._required_engine()
        head = None
        if not asked["is_chosen"]:
            head = await rooms.head(backend, room, agent, self._pending_moves())
            if head is not None and head != session_id:
                return {"answer": "other", "session_id": head}
        async with conversation.lock:
            taken = await self._take(backend, conversation, asked)
            if taken is not None:
                return await self._busy_answer(conversation, taken)
            self._live_on(conversation, int(asked["pid"]), str(asked["kind"]))
            if asked["moves_head"] and head != session_id:
                # First of all what was said there: a head without it would be a new beginning.
                await conversation.keep_up(_PATIENCE_AT_FIRST)
                await rooms.move(backend, self._us, conversation.note, session_id)
        return {
            "answer": "granted",
            "session_id": session_id,
            "generation": conversation.log.generation,
        }

    def _space_taken(self) -> str:
        """Which part, where that is much, and for one call a day; else empty."""
        stamp = f"{self._directory}/{_WARNED}"
        is_said = self._taken >= NEARLY_FULL and retention.has_passed(stamp, is_first=True)
        return f"{self._taken:.0%}" if is_said else ""

    async def _take(
        self, backend: Backend, conversation: Conversation, asked: Message
    ) -> Taken | None:
        """Take a conversation for who asks, or say who has it, having waited as asked."""
        pid, kind = int(asked["pid"]), str(asked["kind"])
        clock = asyncio.get_running_loop().time
        deadline = clock() + int(asked["waits"]) / 1000
        try:
            await conversation.take(pid, kind)
            return None
        except Taken as taken:
            if clock() >= deadline:
                return taken
        async with backend.watch(conversation.log.conversation) as changed:
            while True:
                changed.clear()
                try:
                    await conversation.take(pid, kind)
                    return None
                except Taken as taken:
                    if clock() >= deadline:
                        return taken
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(changed.wait(), max(deadline - clock(), 0))

    async def _busy_answer(self, conversation: Conversation, taken: Taken) -> Message:
        holder = taken.by.record.holder
        is_answering = await conversation.look(taken.by.sequence)
        return {
            "answer": "busy",
            "hostname": holder.hostname,
            "kind": holder.kind,
            "since": taken.by.time,
            "is_answering": is_answering,
        }

    async def _flush(self, asked: Message) -> Message:
        conversation = self._followed(asked)
        with self._kept(conversation):
            return await self._flush_of(conversation, asked["event"])

    async def _flush_of(self, conversation: Conversation, event: dict[str, Any]) -> Message:
        answer = event.get("last_assistant_message")
        await self._wait_for_answer(conversation, answer if isinstance(answer, str) else "")
        try:
            await self._required_engine()
            async with conversation.lock:
                await conversation.keep_up()
                conversation.remember()
        except Unavailable as problem:
            conversation.note.behind = True
            conversation.remember()
            self._note_failure(conversation, str(problem))
            if not conversation.is_alone:
                conversation.was_late = str(problem)
            raise
        return {"answer": "done"}

    async def _wait_for_answer(self, conversation: Conversation, answer: str) -> None:
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
            backend = await self._required_engine()
            async with conversation.lock:
                await conversation.keep_up()
                await self._tell_of_heads(backend, conversation)
        return {"answer": "done"}

    def _followed(self, asked: Message) -> Conversation:
        """The conversation of a hook's event, which its claude is on from now on."""
        event = asked["event"]
        conversation = self._of(
            _session_id(event["session_id"]), str(asked["room"]), str(asked["agent"])
        )
        conversation.transcript = os.path.realpath(str(event["transcript_path"]))
        pid = int(asked["pid"])
        kind = next((c.claudes[pid] for c in self._conversations.values() if pid in c.claudes), "")
        for other in self._conversations.values():
            if other is not conversation:
                other.claudes.pop(pid, None)
        self._live_on(conversation, pid, kind)
        return conversation

    async def _move_head(self, asked: Message) -> Message:
        note = notes.Note("", str(asked["room"]), str(asked["agent"]))
        backend = await self._required_engine()
        await rooms.move(backend, self._us, note, _session_id(asked["session_id"]))
        return {"answer": "done"}

    async def _drop(self, asked: Message) -> Message:
        backend = await self._required_engine()
        if asked["room"] or asked["agent"]:
            await backend.put_room(rooms.key(str(asked["room"]), str(asked["agent"])), None)
        if asked["session_id"]:
            return await self._delete(backend, _session_id(asked["session_id"]))
        return {"answer": "done"}

    async def _delete(self, backend: Backend, session_id: str) -> Message:
        """Delete a conversation on all hosts, unless a claude lives on it."""
        conversation = self._of(session_id)
        async with conversation.lock:
            try:
                await conversation.log.take(os.getpid(), "")
            except Taken as taken:
                self._let_go(conversation)
                return {"answer": "busy", "hostname": taken.by.record.holder.hostname}
            if conversation.claudes:
                return {"answer": "busy", "hostname": self._us.hostname}
            await backend.purge(session_id)
            self._conversations.pop(session_id, None)
            notes.drop(self._directory, session_id)
        return {"answer": "done"}

    async def _status(self, _: Message) -> Message:
        backend = self._engine
        if backend is not None:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(backend.was_tried.wait(), _CONNECTS_WITHIN)
        told = await backend.about() if backend is not None else _NO_ENGINE
        if told["stream"] is not None:
            self._taken = told["stream"]["taken"]
        signs: dict[str, dict[str, Any]] = {}
        if backend is not None and backend.is_here:
            with contextlib.suppress(Unavailable):
                signs = await backend.signs()
        elsewhere = [
            {**held, "host": name, "hostname": sign.get("hostname")}
            for name, sign in signs.items()
            if name != self._us.host
            for held in sign.get("held", ())
        ]
        followed = filter(_is_followed, self._conversations.values())
        conversations = [self._account(each) for each in followed]
        return {
            "answer": "status",
            "host": self._us.host,
            "hostname": self._us.hostname,
            "pid": os.getpid(),
            "incarnation": self._us.incarnation,
            "since": self._since,
            "engine": told,
            "conversations": conversations,
            "behind": sum(each["behind"] for each in conversations),
            "failed_flushes": self._failed,
            "elsewhere": elsewhere,
        }

    async def _rooms(self, _: Message) -> Message:
        backend = await self._required_engine()
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
            "this": self._us.host,
            "rooms": found,
            "unreadable": sum(holder is None for holder, _ in holders.values()),
        }

    async def _stop(self, _: Message) -> Message:
        """End, once all is given back that no claude lives on: the machine may be gone next."""
        for conversation in list(self._conversations.values()):
            if not conversation.claudes:
                await self._look_after(conversation)
        asyncio.get_running_loop().call_soon(self._over.set)
        return {"answer": "done"}

    # What is followed.

    def _of(self, session_id: str, room: str = "", agent: str = "") -> Conversation:
        """The conversation of a session id, as far as it is known here."""
        conversation = self._conversations.get(session_id)
        if conversation is None:
            conversation = self._add(notes.read(self._directory, session_id))
        note = conversation.note
        note.room, note.agent = room or note.room, agent or note.agent
        return conversation

    def _add(self, note: notes.Note) -> Conversation:
        assert self._engine is not None
        added = Conversation(
            self._engine, self._us, self._store, self._leases, note, self._add_fork
        )
        self._conversations[note.session_id] = added
        return added

    def _take_over(self, note: notes.Note) -> None:
        """Follow the claudes that the courier before has followed, and do what was to be done."""
        claudes, note.claudes = note.claudes, {}
        conversation = self._add(note)
        for pid, (kind, born) in claudes.items():
            if claude_watch.born(int(pid)) == born:
                self._live_on(conversation, int(pid), kind)
            else:
                note.behind = True

    def _add_fork(self, note: notes.Note) -> None:
        self._add(note)

    @contextlib.contextmanager
    def _kept(self, conversation: Conversation) -> Iterator[None]:
        """Have a conversation followed at least as long as somebody asks for it."""
        conversation.asked_for += 1
        try:
            yield
        finally:
            conversation.asked_for -= 1
            self._let_go(conversation)

    def _let_go(self, conversation: Conversation) -> None:
        """Follow a conversation no longer, unless there is something to do for it yet."""
        if not _is_followed(conversation) and not conversation.was_late:
            self._conversations.pop(conversation.session_id, None)
            self._given_back.set()

    def _live_on(self, conversation: Conversation, pid: int, kind: str) -> None:
        if self._lives.watch(pid):
            conversation.claudes[pid] = kind or conversation.claudes.get(pid, "")
        else:
            conversation.note.behind = True

    def _forget_claude(self, pid: int) -> None:
        """A claude has ended: what it has said last is yet to be appended."""
        for conversation in list(self._conversations.values()):
            if conversation.claudes.pop(pid, None) is not None:
                self._spawn(self._look_after(conversation))

    async def _keep_up(self) -> None:
        while not self._over.is_set():
            self._lives.look()
            for conversation in list(self._conversations.values()):
                if conversation.is_due():
                    self._spawn(self._look_after(conversation))
            if self._is_idle():
                self._over.set()
            await asyncio.sleep(_LOOKS_EVERY)

    async def _look_after(self, conversation: Conversation) -> None:
        """Append what is new, and give back what no claude lives on any more."""
        if self._engine is None or not self._engine.is_here:
            return
        async with conversation.lock:
            try:
                note = conversation.note
                if conversation.claudes or conversation.log.is_held or note.behind or note.moves:
                    await conversation.keep_up()
                await self._tell_of_heads(self._engine, conversation)
                if not conversation.claudes and (
                    conversation.log.is_held or conversation.note.fork
                ):
                    await conversation.finish()
            except Exception as problem:
                conversation.note.behind = True
                conversation.rest()
                is_news = self._note_failure(conversation, str(problem))
                if is_news and not isinstance(problem, (Unavailable, Damaged, Hostile, OSError)):
                    traceback.print_exc()
            else:
                if notes.is_due(conversation.note) and not conversation.claudes:
                    conversation.rest()
                else:
                    conversation.wake()
            if not conversation.claudes:
                self._let_go(conversation)

    async def _tell_of_heads(self, backend: Backend, conversation: Conversation) -> None:
        """Have the fleet know of a head that has moved, when it has what was said there.

        A conversation of which nothing was written, its claude having died, becomes nobody's head.
        """
        note = conversation.note
        if not note.moves and not note.is_fork:
            return
        if note.is_fork:
            await rooms.remember(backend, note)
        if note.moves and conversation.is_in_the_log:
            await rooms.move(backend, self._us, note, note.session_id)
        elif not conversation.claudes and not os.path.exists(conversation.transcript):
            note.moves = False
        conversation.remember()

    def _is_idle(self) -> bool:
        """Whether nobody needs it any more; of a store that was deleted, nobody does."""
        if not os.path.isdir(self._store):
            return True
        has_work = any(each.claudes for each in self._conversations.values())
        return not self._busy and not has_work and time.monotonic() - self._last_asked > _IDLE_FOR

    def _account(self, conversation: Conversation) -> dict[str, Any]:
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

    def _note_failure(self, conversation: Conversation, why: str) -> bool:
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

    # The engine, and signs of life.

    def _start_engine(self) -> None:
        if not extra.is_installed():
            return
        from shim.fleet.jetstream import JetStream  # it imports what the extra brings

        credentials = environment.get("NSED_FLEET_CREDS")
        self._engine = JetStream(self._url, credentials, self._key_file, tls.files())
        self._spawn(self._engine.run())

    def _require_extra(self) -> None:
        """Make sure that there is an engine, here or not. Raises Away."""
        if self._engine is None:
            importlib.invalidate_caches()
            self._start_engine()
        if self._engine is None:
            raise Unavailable(f"the library of the fleet is not installed: `{extra.how_to_add()}`")

    async def _required_engine(self) -> Backend:
        """The engine, once it was tried. Raises Away."""
        assert self._engine is not None
        await self._engine.heed_keys()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._engine.was_tried.wait(), _CONNECTS_WITHIN)
        if not self._engine.is_here:
            raise Unavailable(self._engine.why)
        return self._engine

    async def _give_signs(self) -> None:
        """Say that this host lives, and what it has, three times in a sign's life."""
        last = 0.0
        while True:
            backend = self._engine
            if backend is not None and backend.is_here:
                held = [
                    {name: it for name, it in self._account(each).items() if name in _TOLD}
                    for each in self._conversations.values()
                    if each.log.is_held
                ]
                sign = {
                    "hostname": self._us.hostname,
                    "incarnation": self._us.incarnation,
                    "held": held,
                }
                is_due = time.monotonic() - last > backend.life / 3
                if is_due or sign != self._sign:
                    with contextlib.suppress(Unavailable):
                        await backend.say_alive(self._us.host, sign)
                        self._sign, last = sign, time.monotonic()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._given_back.wait(), _LOOKS_EVERY)
            self._given_back.clear()

    async def _keep_house(self) -> None:
        """Look once in a while how much space is left, and once a day for what is too old."""
        while True:
            backend = self._engine
            is_here = backend is not None and backend.is_here
            if backend is not None and is_here:
                with contextlib.suppress(Unavailable, Hostile):
                    self._taken = await backend.taken()
                    if self._sign and retention.is_due(self._directory):
                        await retention.forget(backend, self._us, retention.days())
            await asyncio.sleep(_KEEPS_HOUSE_EVERY if is_here else _LOOKS_EVERY)

    async def _say_goodbye(self) -> None:
        if self._engine is None or not self._engine.is_here:
            return
        if not any(each.log.is_held for each in self._conversations.values()):
            with contextlib.suppress(Unavailable):
                await self._engine.say_alive(self._us.host, None)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def main() -> None:
    """Be the courier of the store that the command line names, unless another is."""
    (store,) = sys.argv[1:]
    os.umask(0o077)
    os.chdir(store)
    if not _is_the_one():
        return
    listening = _listen()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 2)
    try:
        us = host.of(store, notes.directory(store))
        courier_url = environment.get("NSED_FLEET_URL")
        asyncio.run(_run(store, us, courier_url, listening))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(protocol.SOCKET)


async def _run(store: str, us: host.Host, url: str, listening: socket.socket) -> None:
    await SyncDaemon(store, us, url).run(listening)


def _is_the_one() -> bool:
    """Whether this process has the courier's lock now: it is given up only by its end."""
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


def _is_followed(conversation: Conversation) -> bool:
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
