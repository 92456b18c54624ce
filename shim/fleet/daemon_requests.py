"""What the sync daemon answers: each request of the protocol, in order."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import traceback
from typing import TYPE_CHECKING, Any

from shim.base import times
from shim.claude import answers
from shim.fleet import copies, daemon_client, event_wait, extra, notes, protocol, rooms
from shim.fleet.backend import AGREEMENT_TIMEOUT, Unavailable
from shim.fleet.log import Held
from shim.fleet.records import Hostile
from shim.fleet.roster import required_session_id
from shim.fleet.snapshots import DamagedLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from shim.fleet.backend import Backend
    from shim.fleet.conversation import FleetConversation
    from shim.fleet.protocol import Message
    from shim.fleet.roster import Roster

NEARLY_FULL = 0.8
"""How much of the space is used when callers are warned."""

# Seconds that a turn's answer is waited for in the transcript; the second, where the hook names
# no answer.
_ANSWER_TIMEOUT, _UNNAMED_ANSWER_TIMEOUT = 0.3, 0.12
_NAP = 0.005
# Seconds that a conversation gets to enter the fleet, which began without it.
_FIRST_SYNC_TIMEOUT = 600.0
# Seconds that `status` waits for servers which are about to be usable.
_STATUS_TIMEOUT = 3.0
# The time of this file is when a caller was last warned that space runs short.
_WARNED = "nearly-full"
_NO_BACKEND: dict[str, Any] = {
    "url": "",
    "is_reachable": False,
    "is_sealed": False,
    **dict.fromkeys(("version", "server", "is_cluster", "max_payload", "stream")),
}


class Requests:
    """The requests of a daemon, answered from its roster; `end` ends the daemon."""

    def __init__(self, roster: Roster, end: Callable[[], None]) -> None:
        self.space_used = 0.0
        self._roster = roster
        self._end = end
        self._since = times.now()
        self._configuration = daemon_client.configuration()
        self._answers: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "begin": self._begin,
            "flush": self._flush,
            "link": self._link,
            "head": self._head,
            "drop": self._drop,
            "status": self._status,
            "rooms": self._rooms,
            "copy": self._copy,
            "stop": self._stop,
        }

    async def answer(self, line: bytes) -> Message:
        """The answer to a line. Raises protocol.Superseded."""
        try:
            asked = protocol.decode(line)
            answer = self._answers.get(str(asked.get("request")))
            _require_version(asked)
            if answer is None:
                raise protocol.Misunderstood(str(asked.get("request")))
            if asked["request"] != "stop":
                self._require_configuration(asked)
            return await answer(asked)
        except (protocol.Misunderstood, KeyError, TypeError) as problem:
            return _alone(f"the sync daemon does not understand ({problem})")
        except _Noted as noted:
            return _alone(str(noted)) | {"is_noted": True}
        except Unavailable as problem:
            return _alone(str(problem))
        except (DamagedLog, Hostile) as problem:
            return _alone(str(_damaged(problem)))
        except OSError as problem:
            where = problem.filename or self._roster.store
            return _alone(f"{where}: {problem.strerror or problem}")
        except protocol.Superseded:
            raise
        except Exception as problem:
            traceback.print_exc()
            return _alone(f"the sync daemon has failed ({type(problem).__name__}: {problem})")

    def refusal(self) -> Message:
        """The answer to another user."""
        return _alone("you are another user")

    def _require_configuration(self, asked: Message) -> None:
        """Make sure that who asks has our configuration; a daemon that is idle yields to theirs.

        Raises Unavailable, protocol.Superseded.
        """
        for name, variable in daemon_client.CONFIGURATION.items():
            if asked.get(name, self._configuration[name]) == self._configuration[name]:
                continue
            if not self._roster.is_in_use:
                raise protocol.Superseded
            raise Unavailable(
                f"the sync daemon has another {variable}: `claude-shim fleet stop` ends it"
            )

    # A call.

    async def _begin(self, asked: Message) -> Message:
        session_id = required_session_id(asked["session_id"])
        self._require_backend_object()
        conversation = self._roster.find(session_id, str(asked["room"]), str(asked["agent"]))
        with self._roster.kept(conversation):
            return await self._begin_on(conversation, asked)

    async def _begin_on(self, conversation: FleetConversation, asked: Message) -> Message:
        conversation.transcript = os.path.realpath(str(asked["transcript"]))
        try:
            answer = await self._begin_when_ready(conversation, asked)
        except (Unavailable, DamagedLog, Hostile) as problem:
            # The call runs alone; its turns are appended once that is possible.
            note = conversation.note
            note.owes_data = conversation.is_alone = True
            note.owes_head = note.owes_head or bool(asked["moves_head"])
            self._roster.add_claude(conversation, int(asked["pid"]), str(asked["kind"]))
            conversation.remember()
            is_damage = not isinstance(problem, Unavailable)
            raise _Noted(_damaged(problem) if is_damage else problem) from problem
        if answer["answer"] == "granted":
            answer |= {"was_late": conversation.was_late, "space_taken": self._space_warning()}
            conversation.was_late, conversation.is_alone = "", False
        return answer

    async def _begin_when_ready(self, conversation: FleetConversation, asked: Message) -> Message:
        """Begin, also where servers that have just lost their leader elect another."""
        deadline = time.monotonic() + AGREEMENT_TIMEOUT
        while True:
            try:
                return await self._begin_now(conversation, asked)
            except Unavailable:
                backend = self._roster.backend
                if backend is None or backend.is_here or time.monotonic() > deadline:
                    raise
                if not await backend.wait_until_ready():
                    raise

    async def _begin_now(self, conversation: FleetConversation, asked: Message) -> Message:
        roster, session_id = self._roster, conversation.session_id
        backend = await roster.ready_backend()
        head = rooms.Head(None)
        if not asked["is_chosen"]:
            room, agent = str(asked["room"]), str(asked["agent"])
            head = await rooms.head(backend, room, agent, roster.pending_moves())
            if head.session_id not in (None, session_id):
                return {"answer": "other", "session_id": head.session_id}
        async with conversation.lock:
            held = await _acquire(backend, conversation, asked)
            await roster.fetch_forks(conversation, head.forks)
            if held is not None:
                return await _busy(conversation, held)
            roster.add_claude(conversation, int(asked["pid"]), str(asked["kind"]))
            if asked["moves_head"] and head.session_id != session_id:
                # Its turns first: a head without them would be a new conversation elsewhere.
                await conversation.sync(_FIRST_SYNC_TIMEOUT)
                await rooms.move(backend, roster.this_host, conversation.note, session_id)
        return {
            "answer": "granted",
            "session_id": session_id,
            "generation": conversation.log.generation,
        }

    def _space_warning(self) -> str:
        """How much space is used, where that is much, for one call a day; else empty."""
        stamp = f"{self._roster.directory}/{_WARNED}"
        is_due = self.space_used >= NEARLY_FULL and times.is_due(stamp, first=True)
        return f"{self.space_used:.0%}" if is_due else ""

    # A hook.

    async def _flush(self, asked: Message) -> Message:
        self._require_backend_object()
        conversation = self._roster.move_claude(asked)
        with self._roster.kept(conversation):
            return await self._flush_on(conversation, asked["event"])

    async def _flush_on(self, conversation: FleetConversation, event: dict[str, Any]) -> Message:
        answer = event.get("last_assistant_message")
        await _wait_for_answer(conversation, answer if isinstance(answer, str) else "")
        try:
            backend = await self._roster.ready_backend()
            async with conversation.lock:
                await conversation.sync()
                await self._roster.share(backend, conversation)
                conversation.remember()
        except Unavailable as problem:
            conversation.note.owes_data = True
            conversation.remember()
            self._roster.note_failure(conversation, str(problem))
            if not conversation.is_alone:
                conversation.was_late = str(problem)
            raise _Noted(str(problem)) from problem
        return {"answer": "done"}

    async def _link(self, asked: Message) -> Message:
        """Follow the conversation that a turn begins in, and make it its room's head."""
        self._require_backend_object()
        conversation = self._roster.move_claude(asked)
        conversation.note.owes_move = True
        conversation.remember()
        with self._roster.kept(conversation):
            try:
                backend = await self._roster.ready_backend()
                async with conversation.lock:
                    await conversation.sync()
                    await self._roster.publish(backend, conversation)
            except Unavailable as problem:
                raise _Noted(str(problem)) from problem
        return {"answer": "done"}

    # A subcommand.

    async def _head(self, asked: Message) -> Message:
        note = notes.Note("", str(asked["room"]), str(asked["agent"]))
        backend = await self._roster.ready_backend()
        session_id = required_session_id(asked["session_id"])
        await rooms.move(backend, self._roster.this_host, note, session_id)
        return {"answer": "done"}

    async def _drop(self, asked: Message) -> Message:
        backend = await self._roster.ready_backend()
        if asked["room"] or asked["agent"]:
            await rooms.drop(backend, str(asked["room"]), str(asked["agent"]))
        if asked["session_id"]:
            return await self._delete(backend, required_session_id(asked["session_id"]))
        return {"answer": "done"}

    async def _delete(self, backend: Backend, session_id: str) -> Message:
        """Delete a conversation on the servers, unless a claude lives on it."""
        roster = self._roster
        conversation = roster.find(session_id)
        async with conversation.lock:
            try:
                await conversation.log.acquire(os.getpid(), "")
            except Held as held:
                roster.drop_if_done(conversation)
                return {"answer": "busy", "hostname": held.by.record.holder.hostname}
            if conversation.claudes:
                return {"answer": "busy", "hostname": roster.this_host.hostname}
            await backend.purge(session_id)
            roster.forget(conversation)
            notes.drop(roster.directory, session_id)
        return {"answer": "done"}

    async def _status(self, _: Message) -> Message:
        roster = self._roster
        roster.start_backend()
        backend = roster.backend
        if backend is None:
            why = f"the library of the fleet is not installed: `{extra.how_to_add()}`"
            about = {**_NO_BACKEND, "why": why}
        else:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(backend.wait_until_ready(), _STATUS_TIMEOUT)
            about = await backend.about()
        if about["stream"] is not None:
            self.space_used = about["stream"]["taken"]
        conversations = roster.summaries()
        return {
            "answer": "status",
            "host": roster.this_host.host,
            "hostname": roster.this_host.hostname,
            "pid": os.getpid(),
            "incarnation": roster.this_host.incarnation,
            "since": self._since,
            "engine": about,
            "conversations": conversations,
            "behind": sum(each["behind"] for each in conversations),
            "failed_flushes": roster.failures,
            "elsewhere": await self._elsewhere(),
        }

    async def _elsewhere(self) -> list[dict[str, Any]]:
        """The conversations that other hosts hold, by their heartbeats."""
        roster = self._roster
        heartbeats: dict[str, dict[str, Any]] = {}
        if roster.backend is not None and roster.backend.is_here:
            with contextlib.suppress(Unavailable):
                heartbeats = await roster.backend.heartbeats()
        return [
            {**held, "host": host, "hostname": heartbeat.get("hostname")}
            for host, heartbeat in heartbeats.items()
            if host != roster.this_host.host
            for held in heartbeat.get("held", ())
        ]

    async def _rooms(self, _: Message) -> Message:
        backend = await self._roster.ready_backend()
        holders = await backend.holders()
        found = await backend.rooms()
        for room in found:
            holder, since = holders.get(room["session_id"], (None, None))
            room |= {
                "host": holder and holder.host,
                "hostname": holder and holder.hostname,
                "since": since,
                "forks": [fork.session_id for fork in rooms.forks(room) if fork.is_open],
            }
        return {
            "answer": "rooms",
            "this": self._roster.this_host.host,
            "rooms": found,
            "unreadable": sum(holder is None for holder, _ in holders.values()),
        }

    async def _copy(self, asked: Message) -> Message:
        """Write a conversation as the fleet has it into a file of who asks."""
        backend = await self._roster.ready_backend()
        session_id = required_session_id(asked["session_id"])
        path, after = str(asked["path"]), int(asked["after"])
        return {"answer": "done", "sequence": await copies.write(backend, session_id, path, after)}

    async def _stop(self, _: Message) -> Message:
        """End, once all leases are released that no claude needs: the machine may be gone next."""
        for conversation in self._roster:
            if not conversation.claudes:
                await self._roster.maintain(conversation)
        asyncio.get_running_loop().call_soon(self._end)
        return {"answer": "done"}

    def _require_backend_object(self) -> None:
        """Make sure that there is a backend, ready or not. Raises Unavailable."""
        if not self._roster.start_backend():
            raise Unavailable(f"the library of the fleet is not installed: `{extra.how_to_add()}`")


class _Noted(Exception):
    """A request cannot be met now; what it owes the fleet is noted."""


def _alone(why: str) -> Message:
    """The answer that the fleet is of no use now."""
    return {"answer": "alone", "why": why}


async def _acquire(
    backend: Backend, conversation: FleetConversation, asked: Message
) -> Held | None:
    """Acquire a conversation for who asks, within the time that they wait; else who holds it."""
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
            await event_wait.wait(changed, deadline - clock())


async def _busy(conversation: FleetConversation, held: Held) -> Message:
    holder = held.by.record.holder
    is_answering = await conversation.peek(held.by.sequence)
    return {
        "answer": "busy",
        "hostname": holder.hostname,
        "kind": holder.kind,
        "since": held.by.time,
        "is_answering": is_answering,
    }


async def _wait_for_answer(conversation: FleetConversation, answer: str) -> None:
    """Wait until a turn's answer is in the transcript, or it takes too long."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + (_ANSWER_TIMEOUT if answer else _UNNAMED_ANSWER_TIMEOUT)
    note = conversation.note
    while clock() < deadline:
        if answer:
            found = answers.end_of(conversation.transcript, answer, note.answered)
            if found is not None:
                note.answered = found
                return
        await asyncio.sleep(_NAP)


def _require_version(asked: Message) -> None:
    """Make sure that who asks speaks our version, or only wants us to end.

    Raises Unavailable, protocol.Superseded.
    """
    version = asked["version"]
    if version > protocol.VERSION:
        raise protocol.Superseded
    if version < protocol.VERSION and asked.get("request") != "stop":
        raise Unavailable("the sync daemon is of a newer claude-shim: update this one")


def _damaged(problem: Exception) -> Unavailable:
    return Unavailable(f"what the fleet has of this conversation is damaged ({problem})")
