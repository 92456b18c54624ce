"""The Claude Agent SDK's `SessionStore` in a fleet: programs and rooms share conversations.

    store = JetStreamSessionStore()
    options = ClaudeAgentOptions(session_store=store, resume=await store.session_id("refactor"))

It says where the fleet is as `claude` does, by NSED_FLEET_URL, NSED_FLEET_CREDS and
NSED_FLEET_KEY_FILE, or by its arguments. Its loop is asyncio's.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shim.base import environment, stamps
from shim.base.messages import Failure
from shim.base.session_key import DEFAULT_AGENT, derive, is_session_id, stored_key
from shim.claude import transcripts
from shim.fleet import extra, records, rooms
from shim.fleet.backend import Conflict, Unavailable
from shim.fleet.host import Host
from shim.fleet.log import Chunk, Held, Log
from shim.fleet.notes import Note
from shim.fleet.records import TRANSCRIPT
from shim.fleet.snapshots import Snapshot

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from shim.fleet.backend import Stored
    from shim.fleet.jetstream import JetStream
    from shim.fleet.snapshots import SnapshotFile

    Key = dict[str, Any]
    """`project_key`, `session_id`, and of what lies beside a transcript its `subpath`."""
    Entry = dict[str, Any]

_ABOUT = ".meta.json"
_METADATA = "agent_metadata"
_KIND = "one-shot"
_ENDS_WITHIN = 0.5
_NANOSECONDS_A_MILLISECOND = 1_000_000
_HAS_GONE_ON = (
    "this conversation has gone on elsewhere since this program loaded it: resume it again"
)


class Elsewhere(Failure):
    """A conversation cannot be added to: it has gone on elsewhere, or is about to."""


@dataclass
class _Known:
    """A conversation as this program knows it: where each file ends, and the entries it has."""

    sequence: int
    ends: dict[str, int]
    names: dict[str, set[str]]


class JetStreamSessionStore:
    """Conversations of a fleet, as the SDK asks for them. Every method may raise Failure.

    One whose id is a UUID is the one that `claude` knows by it on every host, whatever directory
    it is used in; any other name is a project's own. `async with` or `aclose` ends the connection.
    """

    def __init__(self, url: str = "", credentials: str = "", key_file: str = "") -> None:
        self._url = url or environment.get("NSED_FLEET_URL")
        self._credentials = credentials or environment.get("NSED_FLEET_CREDS")
        self._key_file = key_file or environment.get("NSED_FLEET_KEY_FILE")
        self._this_host = Host(secrets.token_hex(16), socket.gethostname(), secrets.token_hex(8))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._backend: JetStream | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._heartbeat_at = 0.0
        self._locks: dict[str, asyncio.Lock] = {}
        self._known: dict[str, _Known] = {}
        self._summaries: dict[str, tuple[str, Entry]] = {}

    async def __aenter__(self) -> JetStreamSessionStore:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End the connection; the next question makes another."""
        connecting, self._connecting, self._loop = self._connecting, None, None
        while connecting is not None and not connecting.done():
            connecting.cancel()  # nats-py swallows one now and then, and so does `wait_for` of 3.11
            await asyncio.wait((connecting,), timeout=_ENDS_WITHIN)

    # Rooms.

    async def session_id(self, room: str, agent: str = DEFAULT_AGENT) -> str:
        """The conversation that a room and agent have on every host, begun or not."""
        key = stored_key(room, agent)
        backend = await self._connected()
        return (await rooms.head(backend, key.room, key.agent, ())).session_id or derive(key)

    async def link(self, session_id: str, room: str, agent: str = DEFAULT_AGENT) -> None:
        """Map a room and agent to a conversation on every host."""
        key = stored_key(room, agent)
        note = Note("", key.room, key.agent)
        await rooms.move(await self._connected(), self._this_host, note, session_id)

    # What the SDK asks.

    async def append(self, key: Key, entries: list[Entry]) -> None:
        """Add entries, unless they are there: those with a `uuid` are known by it.

        Raises Elsewhere where others have added to the conversation since it was loaded here, or a
        claude of another host has it.
        """
        if not entries:
            return
        name = _file(key)
        conversation = _conversation(key)
        async with self._lock(conversation):
            try:
                async with self._acquired(key) as (log, known):
                    await self._add(log, known, name, entries)
            except Held as held:
                now = await self._read(conversation, held.by.sequence)
                if not _has_all(now, name, entries):
                    raise Elsewhere(
                        f"a claude on {held} has this conversation: what was said here is not in"
                        " the fleet"
                    ) from held

    async def load(self, key: Key) -> list[Entry] | None:
        """All entries of a transcript, or of what lies beside one; None where there are none."""
        name, conversation = _file(key), _conversation(key)
        async with self._lock(conversation), self._image(conversation) as (image, sequence):
            self._known[conversation] = _known(image, sequence)
            found = [*_about(image, name), *_entries(image, name)]
        return found or None

    async def list_sessions(self, project_key: str) -> list[Entry]:
        """The conversations that were used last in a project, and when, in milliseconds."""
        return [
            {"session_id": session_id, "mtime": _milliseconds(moment)}
            for session_id, moment in await self._of_project(project_key)
        ]

    async def list_session_summaries(self, project_key: str) -> list[Entry]:
        """What the SDK shows of each of them, made anew of those that have changed."""
        from claude_agent_sdk import fold_session_summary

        found = []
        for session_id, moment in await self._of_project(project_key):
            key = {"project_key": project_key, "session_id": session_id}
            conversation = _conversation(key)
            known_at, summary = self._summaries.get(conversation, ("", {}))
            if known_at != moment:
                summary = dict(fold_session_summary(None, key, await self._look(conversation)))
                summary["mtime"] = _milliseconds(moment)
                self._summaries[conversation] = moment, summary
            found.append(summary)
        return found

    async def delete(self, key: Key) -> None:
        """Delete a conversation on all hosts, or what lies beside one."""
        conversation = _conversation(key)
        backend = await self._connected()
        async with self._lock(conversation):
            if await backend.last(conversation) is None:
                return
            try:
                async with self._acquired(key) as (log, known):
                    if key.get("subpath"):
                        await self._empty(log, known, _file(key))
                        return
                    await backend.purge(conversation)
                    log.is_held = False
            except Held as held:
                raise Elsewhere(f"a claude on {held} has this conversation: end it") from held
            self._known.pop(conversation, None)

    async def list_subkeys(self, key: Key) -> list[str]:
        """What has entries beside a transcript."""
        async with self._image(_conversation(key)) as (image, _):
            return [
                name.removesuffix(transcripts.ENDING)
                for name, part in image.sidecars().items()
                if name.endswith(transcripts.ENDING) and part.end_of_lines()
            ]

    # A conversation's log.

    @contextlib.asynccontextmanager
    async def _acquired(self, key: Key) -> AsyncIterator[tuple[Log, _Known]]:
        """Have a conversation, and all that is in it, for as long as something is changed.

        Between two turns others may have it: nobody tells a store of a program's end. Raises Held.
        """
        conversation = _conversation(key)
        backend = await self._connected()
        await self._send_heartbeat(backend)
        log = Log(backend, conversation, self._this_host)
        await log.acquire(os.getpid(), _KIND, str(key["project_key"])[: records.LONGEST_NAME])
        try:
            known = await self._agreed(log)
            yield log, known
            if log.is_held:
                await log.release()
        except Elsewhere:
            await log.release()
            raise
        except BaseException as problem:
            # What of it is stored is not known: it is read again the next time.
            self._known.pop(conversation, None)
            if isinstance(problem, Conflict):
                raise Elsewhere(_HAS_GONE_ON) from problem
            raise
        known.sequence = log.sequence
        self._known[conversation] = known

    async def _agreed(self, log: Log) -> _Known:
        """A conversation that is ours now, as it is known here. Raises Elsewhere."""
        before = self._known.get(log.conversation)
        if before is not None and log.previous == before.sequence:
            return before
        now = await self._read(log.conversation, log.sequence)
        if before is not None and now.names[TRANSCRIPT] - before.names[TRANSCRIPT]:
            raise Elsewhere(_HAS_GONE_ON)
        return now

    async def _add(self, log: Log, known: _Known, name: str, entries: list[Entry]) -> None:
        names = known.names.setdefault(name, set())
        lines = []
        for entry in entries:
            if name != TRANSCRIPT and entry.get("type") == _METADATA:
                await self._describe(log, name, entry)
            elif entry.get("uuid") not in names:
                lines.append(_line(entry))
        for piece in records.pieces(b"".join(lines)):
            at = known.ends.get(name, 0)
            await log.append_data(Chunk(name, at, piece))
            known.ends[name] = at + len(piece)
        names |= _names(entries)

    async def _describe(self, log: Log, name: str, entry: Entry) -> None:
        """Put what a subagent is into the file in which claude has it."""
        about = {field: value for field, value in entry.items() if field != "type"}
        file = name.removesuffix(transcripts.ENDING) + _ABOUT
        await log.append_data(Chunk(file, 0, json.dumps(about).encode()))

    async def _empty(self, log: Log, known: _Known, name: str) -> None:
        for each in (name, name.removesuffix(transcripts.ENDING) + _ABOUT):
            await log.append_data(Chunk(each, 0, b""))
        known.ends.pop(name, None)
        known.names.pop(name, None)

    async def _read(self, conversation: str, until: int) -> _Known:
        async with self._image(conversation, until) as (image, sequence):
            return _known(image, sequence)

    async def _look(self, conversation: str) -> list[Entry]:
        async with self._image(conversation) as (image, _):
            return list(_entries(image, TRANSCRIPT))

    @contextlib.asynccontextmanager
    async def _image(
        self, conversation: str, until: int | None = None
    ) -> AsyncIterator[tuple[Snapshot, int]]:
        """All files of a conversation, up to its last record, with that one's sequence."""
        backend = await self._connected()
        if until is None:
            last: Stored | None = await backend.last(conversation)
            until = last.sequence if last is not None else 0
        image = Snapshot({})
        try:
            if until:
                await image.read(backend.records(conversation, 0, until), 0)
            yield image, until
        finally:
            image.close()

    async def _of_project(self, project_key: str) -> list[tuple[str, str]]:
        """The conversations of a project, each with the moment at which it was used last."""
        found = []
        for name, (holder, moment) in (await (await self._connected()).holders()).items():
            if holder is not None and holder.project == project_key[: records.LONGEST_NAME]:
                found.append((name.rpartition("\n")[2], moment))
        return found

    def _lock(self, conversation: str) -> asyncio.Lock:
        return self._locks.setdefault(conversation, asyncio.Lock())

    # The backend.

    async def _connected(self) -> JetStream:
        """The backend, connected in the loop that asks. Raises Unavailable."""
        loop = asyncio.get_running_loop()
        if self._backend is None or self._loop is not loop:
            self._start(loop)
        backend = self._backend
        assert backend is not None
        await backend.heed_keys()
        if not await backend.wait_until_ready():
            raise Unavailable(backend.why)
        return backend

    def _start(self, loop: asyncio.AbstractEventLoop) -> None:
        if not self._url:
            raise Failure("no fleet is configured: NSED_FLEET_URL names its server")
        if not extra.is_installed():
            raise Unavailable(f"the library of the fleet is not installed: `{extra.how_to_add()}`")
        from shim.fleet.jetstream import JetStream  # it imports what the extra brings

        self._loop, self._locks, self._heartbeat_at = loop, {}, 0.0
        self._backend = JetStream(self._url, self._credentials, self._key_file)
        self._connecting = loop.create_task(self._backend.run())

    async def _send_heartbeat(self, backend: JetStream) -> None:
        """Have other hosts know that we live, for as long as we may have something."""
        now = asyncio.get_running_loop().time()
        if not self._heartbeat_at or now - self._heartbeat_at > backend.life / 3:
            heartbeat = {
                "hostname": self._this_host.hostname,
                "incarnation": self._this_host.incarnation,
                "held": [],
            }
            await backend.put_heartbeat(self._this_host.host, heartbeat)
            self._heartbeat_at = now


def _conversation(key: Key) -> str:
    """The name of a conversation's log."""
    session_id = str(key["session_id"])
    return session_id if is_session_id(session_id) else f"{key['project_key']}\n{session_id}"


def _file(key: Key) -> str:
    """The file that a key is of. Raises Failure."""
    subpath = key.get("subpath")
    if not subpath:
        return TRANSCRIPT
    try:
        return records.require_path(f"{subpath}{transcripts.ENDING}")
    except records.Hostile as problem:
        raise Failure(f"nothing can lie beside a transcript as {subpath!r}") from problem


def _known(image: Snapshot, sequence: int) -> _Known:
    return _Known(
        sequence,
        {name: part.end_of_lines() for name, part in image.files.items()},
        {name: _names(_entries(image, name)) for name in image.files},
    )


def _entries(image: Snapshot, name: str) -> Iterator[Entry]:
    """The entries of a file; what claude itself would pass over is left out."""
    part = image.files.get(name)
    if part is None:
        return
    for line in _lines(part):
        with contextlib.suppress(ValueError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


def _about(image: Snapshot, name: str) -> Iterator[Entry]:
    """What the SDK is told of a subagent, which claude has in a file of its own."""
    part = image.files.get(name.removesuffix(transcripts.ENDING) + _ABOUT) if name else None
    if part is not None and part.end:
        with contextlib.suppress(ValueError):
            about = json.loads(part.read(0, part.end))
            if isinstance(about, dict):
                yield {"type": _METADATA, **about}


def _lines(part: SnapshotFile) -> Iterator[bytes]:
    return part.lines(0, part.end_of_lines())


def _names(entries: Iterable[Entry]) -> set[str]:
    return {str(entry["uuid"]) for entry in entries if entry.get("uuid")}


def _has_all(known: _Known, name: str, entries: list[Entry]) -> bool:
    """Whether the log has entries already: a claude behind the launcher is followed itself."""
    named = _names(entries)
    return len(named) > 0 and named <= known.names.get(name, set())


def _line(entry: Entry) -> bytes:
    """A line as claude itself writes it."""
    try:
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    except UnicodeEncodeError:  # half a character
        return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _milliseconds(moment: str) -> int:
    return (stamps.nanoseconds(moment) or 0) // _NANOSECONDS_A_MILLISECOND
