"""The backend that is NATS JetStream: a stream of all conversations, and two buckets.

Only nats-py knows the protocol, and only this module knows nats-py. Its own ways to reconnect are
not used: it closes a connection for good where a message is too large, and a new one is made then
as after any other end (help facts, "NATS").
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import nats
import nats.errors
from nats.aio.client import Client
from nats.aio.transport import TcpTransport
from nats.js.api import (
    AckPolicy,
    ConsumerConfig,
    DeliverPolicy,
    DiscardPolicy,
    StorageType,
    StreamConfig,
)
from nats.js.errors import (
    APIError,
    NoStreamResponseError,
    NotFoundError,
    ServiceUnavailableError,
)

from shim.base import times
from shim.base.plain_text import printable
from shim.fleet import encryption, event_wait, extra, keys, probing, records, tls
from shim.fleet.availability import Availability, Phase
from shim.fleet.backend import Conflict, RoomEntry, Stored, Unavailable
from shim.fleet.bounded_parser import BoundedParser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator
    from datetime import datetime

    from nats.js.api import PubAck, StreamInfo
    from nats.js.client import JetStreamContext

    from shim.fleet.encryption import Cipher
    from shim.fleet.records import LeaseHolder, Record

STREAM, ROOMS, HEARTBEATS = "claude_transcripts", "claude_rooms", "claude_couriers"
_ROOM_SUBJECTS = f"$KV.{ROOMS}."
FLEET_CONFIG = "fleet"
"""The key in the bucket of rooms by which hosts agree on how all is stored."""
LIFE = 30.0
"""Seconds for which a heartbeat lasts, where we make the bucket."""
OLDEST_IN_A_CLUSTER = (2, 12)

_REPLICAS = 3
_SMALLEST_PAYLOAD = records.LARGEST + (8 << 10)
_CONNECT_TIMEOUT = 2
_ANSWER_TIMEOUT = 2.0
# While a cluster elects its leaders, one that will not answer is left for another soon.
_AGREEING_TIMEOUT = 0.7
# Seconds between two tries; less than a host waits before it counts another one as dead.
_RETRY_DELAYS = (0.1, 0.5, 1.0, 2.0)
# Seconds that a call waits for the first try, and for one that is made because it asks.
_FIRST_TRY_TIMEOUT, _TRY_TIMEOUT = 3.0, 0.5
_PING_INTERVAL, _MISSED_PINGS = 5, 2
# Seconds for a server of a cluster to catch up with its leader.
_CATCH_UP_TIMEOUT = 5.0
_BATCH = 500
_NAP = 0.02

_WRONG_LAST_SEQUENCE, _IN_FLIGHT = 10071, 10164
_TOO_LARGE = 10054
_NO_JETSTREAM = (10039, 10076)
_TOO_FEW_SERVERS = (10005, 10074)
# What no majority of a cluster can be asked for.
_NO_MAJORITY = (10008, 10009)
_LOST = "records got lost on the way: try again"
# Whichever of them is seen first, where a server misses the certificate of who has connected.
_HANGS_UP = ("connection lost", "certificate required", "broken pipe", "reset by peer")
# By which we know a stream that we have made.
_OURS = {"made-by": "claude-shim"}
_EXPECTED = "Nats-Expected-Last-Subject-Sequence"
_OPERATION = "KV-Operation"

_NO_FILES = tls.Files()


class _NotReady(Unavailable):
    """The servers may answer soon: they are late, or choose who leads."""


class JetStream:
    """A backend, connected by `run`. `servers` are as NSED_FLEET_URL has them, with commas between.

    `credentials` is the path of a NATS credentials file, `key_file` that of a file of our keys;
    each may be empty. `certificates` are for TLS.
    """

    def __init__(
        self,
        servers: str,
        credentials: str,
        key_file: str = "",
        certificates: tls.Files = _NO_FILES,
    ) -> None:
        self.life = LIFE
        self.stream = ""
        self._servers = [server.strip() for server in servers.split(",") if server.strip()]
        self._credentials = credentials
        self._certificates = certificates
        self._key_file = key_file
        self._keys_look: object = None
        self._cipher: Cipher = encryption.PlaintextCipher()
        # The subjects under which conversations were last found.
        self._found_as: dict[str, str] = {}
        self._nats: Client | None = None
        self._closed = asyncio.Event()
        self._availability = Availability("no server has answered yet")
        # How often each server could not be used since one could.
        self._failures: dict[str, int] = {}
        self._tries, self._last_try_took = 0, 0.0
        self._is_wanted = asyncio.Event()
        self._heartbeat: tuple[str, dict[str, Any] | None] | None = None
        # What nats-py has reported of this connection, and what broke our own bounds.
        self._complaint, self._breach = "", ""

    @property
    def why(self) -> str:
        """Why the servers cannot be used, or empty."""
        return self._availability.why

    @property
    def is_here(self) -> bool:
        """Whether the streams answer."""
        return self._availability.phase is Phase.HERE and self._is_connected

    @property
    def _is_connected(self) -> bool:
        return self._nats is not None and self._nats.is_connected

    async def run(self) -> None:
        """Stay connected, as far as that is possible, until cancelled."""
        clock = asyncio.get_running_loop().time
        failures = 0
        while True:
            began = clock()
            self._is_wanted.clear()
            try:
                await self._connect()
                failures = 0
                self._failures.clear()
                self._end_try(clock() - began)
                await self._closed.wait()
                self._lose(ConnectionResetError("the connection has ended"))
            except Unavailable as problem:
                failures += 1
                self._note_failed_try(problem)
                self._end_try(clock() - began)
            finally:
                await self.close()
            await self._pause(failures)

    def _note_failed_try(self, problem: Unavailable) -> None:
        if isinstance(problem, _NotReady) and self._availability.phase is not Phase.ABSENT:
            self._availability.why = str(problem)
        else:
            self._availability.is_absent(str(problem))

    def _end_try(self, took: float) -> None:
        self._tries += 1
        self._last_try_took = took

    async def _pause(self, failures: int) -> None:
        """Wait before the next try; who asks ends the wait."""
        delay = _RETRY_DELAYS[min(failures, len(_RETRY_DELAYS) - 1)]
        if self._availability.phase is Phase.AGREEING:
            delay = _RETRY_DELAYS[0]
        await event_wait.wait(self._is_wanted, delay)

    async def close(self) -> None:
        """End the connection at once, if there is one: what nobody acknowledged is sent again.

        nats-py waits for no end of a TLS connection, and leaves one open that it failed to make.
        """
        client, self._nats = self._nats, None
        if client is None:
            return
        transport = client._transport
        if isinstance(transport, TcpTransport) and transport._io_writer is not None:
            transport._io_writer.transport.abort()
        with contextlib.suppress(Exception):
            await client.close()

    async def wait_until_ready(self) -> bool:
        """Wait while the servers are about to be usable; whether they are."""
        await self._try_at_once()
        while self._availability.phase is Phase.AGREEING:
            await self._availability.wait_for_change(self._availability.remaining())
        return self.is_here

    async def _try_at_once(self) -> None:
        """Where no server has spoken, try to connect now, as long as that is fast."""
        if self._availability.phase is not Phase.ABSENT:
            return
        clock, tries = asyncio.get_running_loop().time, self._tries
        if tries and self._last_try_took > _TRY_TIMEOUT:
            return
        deadline = clock() + (_TRY_TIMEOUT if tries else _FIRST_TRY_TIMEOUT)
        self._is_wanted.set()
        while self._tries == tries and not self.is_here and clock() < deadline:
            await asyncio.sleep(_NAP)

    async def heed_keys(self) -> None:
        """Connect anew where the file of keys has changed since."""
        if self._tries and keys.look(self._key_file) != self._keys_look:
            self._tries = 0
            self._availability.is_absent("the file of keys has changed")
            self._closed.set()

    async def append(self, conversation: str, record: Record, after: int, timeout: float) -> int:
        """Append a record, as the protocol says."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        subject = self._subject(conversation)
        payload = self._cipher.encrypt(record.to_bytes(), subject, after)
        while True:
            try:
                return await self._append(subject, payload, after, deadline - clock())
            except APIError as problem:
                if problem.err_code == _WRONG_LAST_SEQUENCE:
                    # By the leader, never by a direct get: those are stale now and then.
                    stored = await self.last(conversation)
                    if stored is not None and stored.record.nonce == record.nonce:
                        return stored.sequence
                    if stored is not None and stored.sequence > after:
                        raise Conflict(conversation) from problem
                elif problem.err_code != _IN_FLIGHT:
                    raise self._unavailable(problem) from problem
            if clock() > deadline:
                raise self._unavailable(TimeoutError())
            await asyncio.sleep(_NAP)

    async def _append(self, subject: str, payload: bytes, after: int, timeout: float) -> int:
        headers = {_EXPECTED: str(after)}
        return await self._publish(subject, payload, headers, max(timeout, _NAP))

    async def last(self, conversation: str) -> Stored | None:
        """The last record of a conversation, as its leader has it."""
        for name in self._cipher.names(conversation):
            subject = f"{STREAM}.{name}"
            found = await self._last(STREAM, subject)
            if found is not None:
                self._found_as[conversation] = subject
                record, follows = self._read(found.data, subject, found.headers)
                return Stored(found.seq, record, _moment(found.time), follows)
        self._found_as.pop(conversation, None)
        return None

    def _subject(self, conversation: str) -> str:
        """Where a conversation is, or is to be begun."""
        found = self._found_as.get(conversation)
        return found or f"{STREAM}.{self._cipher.names(conversation)[0]}"

    def _read(
        self, payload: bytes | None, subject: str, headers: dict[str, str] | None
    ) -> tuple[Record, int | None]:
        """The record of a message, and the sequence that it follows. Raises Unavailable,
        Hostile.
        """
        said = (headers or {}).get(_EXPECTED, "")
        content, follows = self._cipher.decrypt(
            payload or b"", subject, int(said) if said.isdigit() else None
        )
        try:
            return records.from_bytes(content), follows
        except records.Newer as problem:
            raise Unavailable(str(problem)) from problem

    async def records(self, conversation: str, after: int, until: int) -> AsyncIterator[Stored]:
        """The records between two sequences; each is checked to be the one behind the last.

        The server that is read from may be behind its leader: it is asked until it is not.
        """
        subject = self._subject(conversation)
        clock = asyncio.get_running_loop().time
        deadline = clock() + _CATCH_UP_TIMEOUT
        while after < until:
            found = self._fetched(STREAM, subject, _from(after + 1))
            async with contextlib.aclosing(found) as messages:
                async for message in messages:
                    after = message.metadata.sequence.stream
                    if after <= until:
                        record, follows = self._read(message.data, subject, message.headers)
                        yield Stored(after, record, _moment(message.metadata.timestamp), follows)
                    if after >= until:
                        return
            if clock() > deadline:
                raise Unavailable(_LOST)
            await asyncio.sleep(_NAP)

    async def holders(self) -> dict[str, tuple[LeaseHolder | None, str]]:
        """Who wrote the last record of each conversation, and when."""
        found: dict[str, tuple[LeaseHolder | None, str]] = {}
        async for message in self._fetched(STREAM, f"{STREAM}.*", _last_ones()):
            name, holder = message.subject.rpartition(".")[2], None
            with contextlib.suppress(records.Hostile, Unavailable):
                record, _ = self._read(message.data, message.subject, message.headers)
                name, holder = record.conversation or name, record.holder
            found[name] = holder, _moment(message.metadata.timestamp)
        return found

    async def purge(self, conversation: str, before: int | None = None) -> None:
        """Delete records of a conversation."""
        async with self._asking() as stream:
            await stream.purge_stream(STREAM, seq=before, subject=self._subject(conversation))

    @contextlib.asynccontextmanager
    async def watch(self, conversation: str = "", room: str = "") -> AsyncIterator[asyncio.Event]:
        """An event for what is published to these subjects, stored or not."""
        event = asyncio.Event()

        async def notice(_: object) -> None:
            event.set()

        subjects = [self._subject(conversation)] if conversation else []
        if room:
            subjects.append(f"{_ROOM_SUBJECTS}{self._cipher.names(room)[0]}")
        client = self._client()
        try:
            subscriptions = [await client.subscribe(each, cb=notice) for each in subjects]
            await client.flush(int(_ANSWER_TIMEOUT))
        except _PROBLEMS as problem:
            raise self._unavailable(problem) from problem
        try:
            yield event
        finally:
            for subscription in subscriptions:
                with contextlib.suppress(Exception):
                    await subscription.unsubscribe()

    async def room(self, name: str) -> RoomEntry:
        """The entry of a room; its revision is that of the key that a change is written to."""
        newest, *former = self._cipher.names(name)
        found = await self._last(f"KV_{ROOMS}", f"$KV.{ROOMS}.{newest}")
        revision = found.seq if found is not None else 0
        value = None if found is None else self._parsed(found)
        for key in former:
            value = value or await self._value(ROOMS, key)
        return RoomEntry(value, revision)

    async def rooms(self) -> list[dict[str, Any]]:
        """What the bucket has."""
        return [value async for key, value in self._values(ROOMS) if key != FLEET_CONFIG]

    async def put_room(self, name: str, value: dict[str, Any] | None, after: int) -> None:
        """Replace an entry; under keys that were used before there is none then."""
        newest, *former = self._cipher.names(name)
        await self._put(ROOMS, newest, value, after)
        for key in former:
            if await self._value(ROOMS, key) is not None:
                await self._put(ROOMS, key, None)

    async def put_heartbeat(self, host: str, value: dict[str, Any] | None) -> None:
        """Put this host into the bucket whose values expire."""
        self._heartbeat = host, value
        await self._put(HEARTBEATS, host, value)

    async def heartbeat_of(self, host: str) -> dict[str, Any] | None:
        """What the bucket has of a host."""
        return await self._value(HEARTBEATS, host)

    async def heartbeats(self) -> dict[str, dict[str, Any]]:
        """What the bucket has."""
        return {key: value async for key, value in self._values(HEARTBEATS)}

    async def now(self) -> float:
        """When this host's last heartbeat was stored."""
        if self._heartbeat is None:
            raise Unavailable("this host has given no heartbeat yet")
        found = await self._last(f"KV_{HEARTBEATS}", f"$KV.{HEARTBEATS}.{self._heartbeat[0]}")
        if found is None:
            raise Unavailable(_LOST)
        return float(found.time.timestamp())

    async def space_used(self) -> float:
        """The largest part of what the stream and the account may have."""
        async with self._asking() as stream:
            found = await stream.stream_info(STREAM)
            account = await stream.account_info()
        return max(
            _part(found.state.bytes, found.config.max_bytes),
            _part(found.state.messages, found.config.max_msgs),
            _part(account.storage, account.limits.max_storage),
        )

    async def about(self) -> dict[str, Any]:
        """The server and the stream."""
        stream = None
        if self.is_here:
            with contextlib.suppress(Unavailable):
                stream = await self._about_stream()
        info = self._nats._server_info if self._nats is not None else {}
        return {
            "url": self._places,
            "is_reachable": self.is_here,
            "is_sealed": bool(self._key_file),
            "why": self.why or None,
            "version": info.get("version"),
            "server": info.get("server_name"),
            "is_cluster": bool(info.get("cluster")),
            "max_payload": info.get("max_payload"),
            "stream": stream,
        }

    async def _about_stream(self) -> dict[str, Any]:
        async with self._asking() as stream:
            found = await stream.stream_info(STREAM)
        return {
            "replicas": found.config.num_replicas,
            "discard": DiscardPolicy(found.config.discard or "old").value,
            "messages": found.state.messages,
            "bytes": found.state.bytes,
            "max_bytes": found.config.max_bytes,
            "taken": await self.space_used(),
        }

    async def _connect(self) -> None:
        """Connect to the server that speaks first, and make sure that the streams answer.

        Raises Unavailable.
        """
        self._closed.clear()
        self._complaint = self._breach = ""
        if self._credentials and not os.access(self._credentials, os.R_OK):
            raise Unavailable(f"{self._credentials}, which NSED_FLEET_CREDS names, cannot be read")
        self._keys_look = keys.look(self._key_file)
        self._cipher = encryption.code(self._key_file)
        self._found_as.clear()
        context = tls.context(self._certificates)
        server = await self._first_to_speak()
        self._availability.server_spoke()
        self._failures[server] = self._failures.get(server, 0) + 1
        try:
            await self._connect_to(server, context)
            await self._set_up()
        except (*_PROBLEMS, ValueError, ImportError) as problem:
            raise self._unavailable(problem) from problem
        self._availability.is_ready()

    async def _first_to_speak(self) -> str:
        try:
            return await probing.first_to_speak(self._servers, self._failures, _CONNECT_TIMEOUT)
        except (OSError, ValueError) as problem:
            raise Unavailable(str(self._explained(problem))) from problem

    async def _connect_to(self, server: str, context: ssl.SSLContext | None) -> None:
        self._nats = client = Client()
        client._ps = BoundedParser(client, self._note_breach)
        await client.connect(
            servers=[server],
            name="claude-shim",
            user_credentials=self._credentials or None,
            tls=context,
            allow_reconnect=False,
            max_reconnect_attempts=1,
            reconnect_time_wait=0,
            connect_timeout=_CONNECT_TIMEOUT,
            ping_interval=_PING_INTERVAL,
            max_outstanding_pings=_MISSED_PINGS,
            error_cb=self._note_complaint,
            closed_cb=self._note_end,
        )

    async def _set_up(self) -> None:
        """Make sure that the server will do, and that all is there. Raises Unavailable."""
        assert self._nats is not None
        self._require_what_is_needed(self._nats)
        config = StreamConfig(subjects=[f"{STREAM}.*"], discard=DiscardPolicy.NEW)
        self.stream = str((await self._make(STREAM, config)).created)
        await self._make(f"KV_{ROOMS}", _bucket(ROOMS))
        await self._agree_on_fleet_config()
        heartbeats = await self._make(f"KV_{HEARTBEATS}", _bucket(HEARTBEATS, LIFE))
        self.life = heartbeats.config.max_age or LIFE
        if self._heartbeat is not None:
            await self.put_heartbeat(*self._heartbeat)

    def _require_what_is_needed(self, client: Client) -> None:
        version = client.connected_server_version
        if self._is_cluster and (version.major, version.minor) < OLDEST_IN_A_CLUSTER:
            raise Unavailable(
                f"the NATS servers at {self._places} are of version {version.major}."
                f"{version.minor}, which loses turns in a cluster: it takes 2.12 or newer"
            )
        if client.max_payload < _SMALLEST_PAYLOAD:
            raise Unavailable(
                f"the NATS server at {self._places} takes messages of {client.max_payload} bytes"
                " at most: set its max_payload to 1MB"
            )

    async def _agree_on_fleet_config(self) -> None:
        """Make sure that all hosts encrypt as this one does, or none. Raises Unavailable.

        A fleet's first host decides. Who writes with a key first puts it into the fleet config, and
        encrypts that with it: hosts that lack it are told at once, before they would begin under
        another name what is there already.
        """
        subject = f"$KV.{ROOMS}.{FLEET_CONFIG}"
        try:
            await self._client().subscribe(subject, cb=self._heed_fleet_config)
        except _PROBLEMS as problem:
            raise self._unavailable(problem) from problem
        while True:
            found = await self._last(f"KV_{ROOMS}", subject)
            if found is None:
                await self._require_readable()
                known: list[str] = []
            else:
                known = self._keys_of_fleet_config(found.data or b"")
                if not self._cipher.writes_with or self._cipher.writes_with in known:
                    return
            if self._cipher.writes_with:
                known.append(self._cipher.writes_with)
            fleet_config = {"version": records.VERSION, "keys": known}
            follows = found.seq if found is not None else 0
            payload = self._cipher.encrypt(json.dumps(fleet_config).encode(), subject, follows)
            try:
                await self._publish(
                    subject, payload, {_EXPECTED: str(follows)}, self._answer_timeout
                )
            except APIError as problem:
                if problem.err_code != _WRONG_LAST_SEQUENCE:
                    raise self._unavailable(problem) from problem

    async def _require_readable(self) -> None:
        """Make sure that what is there without a fleet config can be read. Raises Unavailable."""
        newest = await self._last(STREAM, f"{STREAM}.*")
        if newest is not None:
            self._cipher.decrypt(newest.data or b"", newest.subject, None)

    def _keys_of_fleet_config(self, payload: bytes) -> list[str]:
        """The keys that a fleet config tells of, if it is one to keep to. Raises Unavailable."""
        try:
            content, _ = self._cipher.decrypt(payload, f"$KV.{ROOMS}.{FLEET_CONFIG}", None)
            fleet_config = json.loads(content)
            records.require_known(fleet_config["version"])
            return [str(key) for key in fleet_config["keys"]]
        except records.Newer as problem:
            raise Unavailable(str(problem)) from problem
        except (ValueError, KeyError, TypeError) as problem:
            raise Unavailable(
                f"the key `{FLEET_CONFIG}` of the bucket {ROOMS} is no fleet config:"
                " who has changed it?"
            ) from problem

    async def _heed_fleet_config(self, message: Any) -> None:
        """Be gone, and be told why at the next try, where the fleet config has changed against
        us.
        """
        try:
            self._keys_of_fleet_config(message.data)
        except Unavailable:
            self._closed.set()

    async def _make(self, name: str, config: StreamConfig) -> StreamInfo:
        """Make a stream, unless it is there: then it is used as the administrator made it.

        One that we made while the cluster had fewer servers gets the copies that it lacks.
        """
        async with self._asking() as stream:
            try:
                found: StreamInfo = await stream.stream_info(name)
            except NotFoundError:
                return await self._make_new(stream, name, config)
            is_ours = _OURS.items() <= (found.config.metadata or {}).items()
            if self._is_cluster and is_ours and (found.config.num_replicas or 1) < _REPLICAS:
                with contextlib.suppress(APIError):
                    await stream.update_stream(found.config.evolve(num_replicas=_REPLICAS))
            return found

    async def _make_new(
        self, stream: JetStreamContext, name: str, config: StreamConfig
    ) -> StreamInfo:
        config = config.evolve(name=name, storage=StorageType.FILE, metadata=_OURS)
        for copies in (_REPLICAS, 1) if self._is_cluster else (1,):
            try:
                made: StreamInfo = await stream.add_stream(config, num_replicas=copies)
                break
            except APIError as problem:
                if problem.err_code not in _TOO_FEW_SERVERS or copies == 1:
                    raise
        return made

    @property
    def _is_cluster(self) -> bool:
        return bool(self._client()._server_info.get("cluster"))

    async def _note_complaint(self, problem: Exception) -> None:
        said = str(problem) or type(problem).__name__
        if not _is_denied_room(said):
            self._complaint = said

    def _note_breach(self, why: str) -> None:
        self._breach = why

    async def _note_end(self) -> None:
        self._lose(ConnectionResetError("the connection has ended"))

    def _lose(self, problem: BaseException) -> None:
        """Leave the connection, where the servers could be used until now."""
        self._availability.is_lost(str(self._explained(problem)))
        self._closed.set()

    @property
    def _answer_timeout(self) -> float:
        is_agreeing = self._availability.phase is Phase.AGREEING
        return _AGREEING_TIMEOUT if is_agreeing else _ANSWER_TIMEOUT

    def _client(self) -> Client:
        """The connection. Raises Unavailable."""
        if self._nats is None or not self._nats.is_connected:
            raise _NotReady(self.why or "the connection has ended")
        return self._nats

    @contextlib.asynccontextmanager
    async def _asking(self) -> AsyncIterator[JetStreamContext]:
        try:
            yield self._client().jetstream(timeout=self._answer_timeout)
        except NotFoundError:
            raise
        except _PROBLEMS as problem:
            raise self._unavailable(problem) from problem

    async def _publish(
        self, subject: str, payload: bytes, headers: dict[str, str], timeout: float
    ) -> int:
        """Have a message stored; its sequence. Raises APIError, Unavailable."""
        stream = self._client().jetstream(timeout=self._answer_timeout)
        publishing = asyncio.ensure_future(
            self._published(stream, subject, payload, headers, timeout)
        )
        # A connection that ends would let it wait for all of its patience.
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait((publishing, closing), return_when=asyncio.FIRST_COMPLETED)
            if not publishing.done():
                raise ConnectionResetError("the connection has ended")
            return publishing.result().seq
        except APIError:
            raise
        except _PROBLEMS as problem:
            raise self._unavailable(problem) from problem
        finally:
            publishing.cancel()
            closing.cancel()

    async def _published(
        self,
        stream: JetStreamContext,
        subject: str,
        payload: bytes,
        headers: dict[str, str],
        timeout: float,
    ) -> PubAck:
        """What is said when it is stored; a cluster is given time to agree on who stores it."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + timeout
        while True:
            rest = max(deadline - clock(), _NAP)
            try:
                return await stream.publish(subject, payload, rest, headers=headers or None)
            except NoStreamResponseError:
                if not self._is_cluster or clock() > deadline:
                    raise
            await asyncio.sleep(_NAP)

    async def _last(self, stream_name: str, subject: str) -> Any:
        async with self._asking() as stream:
            try:
                return await stream.get_last_msg(stream_name, subject)
            except NotFoundError:
                return None

    async def _value(self, bucket: str, key: str) -> dict[str, Any] | None:
        found = await self._last(f"KV_{bucket}", f"$KV.{bucket}.{key}")
        return None if found is None else self._parsed(found)

    async def _values(self, bucket: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        async for message in self._fetched(f"KV_{bucket}", f"$KV.{bucket}.*", _last_ones()):
            value = None
            with contextlib.suppress(Unavailable):  # said of where that one is asked for
                value = self._parsed(message)
            if value is not None:
                yield message.subject.rpartition(".")[2], value
            if message.metadata.num_pending == 0:
                return

    async def _put(
        self, bucket: str, key: str, value: dict[str, Any] | None, after: int | None = None
    ) -> None:
        """Store a value of a bucket, where `after` is its revision, if one is given.

        Raises Conflict, Unavailable.
        """
        headers = {_OPERATION: "DEL"} if value is None else {}
        if after is not None:
            headers[_EXPECTED] = str(after)
        subject = f"$KV.{bucket}.{key}"
        payload = b""
        if value is not None:
            payload = self._cipher.encrypt(json.dumps(value).encode(), subject, 0)
        try:
            await self._publish(subject, payload, headers, self._answer_timeout)
        except APIError as problem:
            if after is not None and problem.err_code == _WRONG_LAST_SEQUENCE:
                raise Conflict(key) from problem
            raise self._unavailable(problem) from problem

    def _parsed(self, message: Any) -> dict[str, Any] | None:
        """A value of a bucket. One that nobody of ours has put there is none. Raises
        Unavailable.
        """
        if message.headers and message.headers.get(_OPERATION):
            return None
        try:
            content, _ = self._cipher.decrypt(message.data or b"", message.subject, None)
            value = json.loads(content)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    async def _fetched(
        self, stream_name: str, subject: str, config: ConsumerConfig
    ) -> AsyncGenerator[Any, None]:
        """All messages that a new consumer gets, each behind the last; it is deleted then."""
        async with self._asking() as stream:
            consumer = await stream.add_consumer(stream_name, config, filter_subject=subject)
            waiting = consumer.num_pending
            subscription = await stream.pull_subscribe_bind(consumer.name, stream_name)
            try:
                seen = 0
                while waiting and seen < waiting:
                    batch = await subscription.fetch(_BATCH, _ANSWER_TIMEOUT)
                    for message in batch:
                        seen += 1
                        if message.metadata.sequence.consumer != seen:
                            raise Unavailable(_LOST)
                        yield message
            finally:
                with contextlib.suppress(Exception):
                    await subscription.unsubscribe()
                    await stream.delete_consumer(stream_name, consumer.name)

    @property
    def _places(self) -> str:
        """Where the servers are, without the secrets that a URL can hold."""
        places = [
            urlsplit(server if "://" in server else f"nats://{server}") for server in self._servers
        ]
        return ", ".join(place.netloc.rpartition("@")[2] for place in places)

    def _unavailable(self, problem: BaseException) -> Unavailable:
        """What went wrong, in a line for people; servers that are late are left."""
        explained = self._explained(problem)
        if isinstance(problem, _LATE) or isinstance(explained, _NotReady):
            self._lose(problem)
        return explained

    def _has_no_majority(self, problem: BaseException) -> bool:
        """Whether too few servers of a cluster reach one another; while they choose who leads, too,
        when nobody answers.
        """
        if not isinstance(problem, APIError):
            return False
        is_unanswered = isinstance(problem, ServiceUnavailableError) and self._is_cluster
        return problem.err_code in _NO_MAJORITY or is_unanswered

    @property
    def _reported(self) -> str:
        """What is known about the connection beyond an exception that it has caused."""
        if self._nats is not None and self._nats.is_closed and self._nats.last_error is not None:
            return self._breach or self._complaint or str(self._nats.last_error)
        return self._breach or self._complaint

    def _explained(self, problem: BaseException) -> Unavailable:
        complaint = self._reported
        said = f"{complaint} {problem}".lower()
        at = self._places
        if "authorization" in said or "authentication" in said or "user jwt" in said:
            return Unavailable(f"the NATS server at {at} refuses these credentials")
        if "permissions violation" in said:
            return Unavailable(
                f"the NATS server at {at} gives this user no leave to use its streams"
            )
        if isinstance(problem, ImportError):
            return Unavailable(f"NSED_FLEET_CREDS takes the package nkeys: `{extra.how_to_add()}`")
        is_tls = any(server.startswith("tls:") for server in self._servers)
        wants_ours = any(words in said for words in _HANGS_UP)
        if is_tls and not self._certificates.certificate and wants_ours:
            return Unavailable(
                f"the NATS server at {at} hangs up: where it asks for a certificate,"
                " NSED_FLEET_CERT has to name one"
            )
        if isinstance(problem, ssl.SSLError) or "ssl" in said or "tls" in said:
            reason = printable(str(problem) or complaint)
            return Unavailable(f"there is no TLS with the NATS server at {at} ({reason})")
        if isinstance(problem, APIError):
            return self._refused_because(problem)
        if isinstance(problem, ValueError) or "connect url" in said:
            return Unavailable(
                f"NSED_FLEET_URL names no NATS server ({at}): it is like nats://10.0.0.5:4222"
            )
        if isinstance(problem, nats.errors.MaxPayloadError):
            return Unavailable(f"a message is larger than the NATS server at {at} takes")
        reason = complaint or str(problem) or type(problem).__name__
        return _NotReady(f"no NATS server answers at {at} ({printable(reason)})")

    def _refused_because(self, problem: APIError) -> Unavailable:
        what = printable(str(problem.description or "no answer"))
        if problem.err_code == _TOO_LARGE:
            return Unavailable(
                f"a message is larger than the stream {STREAM} takes: set its max_msg_size to 1MB"
            )
        if "exceeded" in what or "insufficient" in what:
            return Unavailable(
                f"the NATS server at {self._places} has no space left for {STREAM} ({what})"
            )
        if self._has_no_majority(problem):
            return _NotReady(
                f"most NATS servers of the cluster of {self._places} are away ({what})"
            )
        if problem.err_code in _NO_JETSTREAM or isinstance(problem, ServiceUnavailableError):
            return Unavailable(f"the NATS server at {self._places} has no JetStream ({what})")
        return Unavailable(f"the NATS server at {self._places} refuses ({what})")


# A stream without a leader, too, answers not at all: its server may be cut off from the others.
_LATE = (
    TimeoutError,
    asyncio.TimeoutError,
    nats.errors.TimeoutError,
    nats.errors.NoRespondersError,
    NoStreamResponseError,
)
_PROBLEMS = (OSError, nats.errors.Error, asyncio.TimeoutError, EOFError)


def _is_denied_room(complaint: str) -> bool:
    """Whether this host may not watch a room: then it asks now and then."""
    complaint = complaint.lower()
    fleet_config = f"{_ROOM_SUBJECTS}{FLEET_CONFIG}"
    is_watch = "subscription" in complaint and _ROOM_SUBJECTS.lower() in complaint
    return is_watch and f'{fleet_config.lower()}"' not in complaint


def _bucket(name: str, life: float = 0) -> StreamConfig:
    """The stream that a bucket is, as NATS's own tools know it; no direct gets, which are stale."""
    return StreamConfig(
        subjects=[f"$KV.{name}.>"],
        max_msgs_per_subject=1,
        max_age=life,
        discard=DiscardPolicy.NEW,
        allow_rollup_hdrs=True,
        deny_delete=True,
    )


def _last_ones() -> ConsumerConfig:
    """For the last message of each subject."""
    return ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.LAST_PER_SUBJECT,
        inactive_threshold=LIFE,
        mem_storage=True,
    )


def _from(sequence: int) -> ConsumerConfig:
    """For all messages from a sequence on."""
    return ConsumerConfig(
        ack_policy=AckPolicy.NONE,
        deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
        opt_start_seq=sequence,
        inactive_threshold=LIFE,
        mem_storage=True,
    )


def _part(has: int, most: int | None) -> float:
    """Which part of a limit is taken; NATS's word for none is -1, or 0."""
    return has / most if most and most > 0 else 0.0


def _moment(time: datetime) -> str:
    """A moment of the server's clock, as RFC 3339."""
    return times.timestamp(int(time.timestamp() * 1e9)).decode()
