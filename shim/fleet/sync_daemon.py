"""The sync daemon of a store: the one process of a host that is connected to the fleet.

It keeps no truth: whatever it does for a call or a hook, one that was just started could do as
well. It answers each request at once, and ends when nobody has asked for ten minutes and no claude
lives on a conversation.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

from shim.fleet import daemon_client, event_wait, expiry, host, notes, protocol
from shim.fleet.backend import Unavailable
from shim.fleet.daemon_requests import Requests
from shim.fleet.records import Hostile
from shim.fleet.roster import Roster

if TYPE_CHECKING:
    import socket

LOCK = "courier.lock"
LOG = "courier.log"

_IDLE_TIMEOUT = 600.0
_TICK = 0.25
_WAIT_LINE_INTERVAL = 0.5
_HOUSEKEEPING_INTERVAL = 60.0
# Seconds for the daemon before this one to end.
_LOCK_TIMEOUT = 1.0
_NAP = 0.005


class SyncDaemon:
    """The sync daemon of a store."""

    def __init__(self, store: str, this_host: host.Host) -> None:
        self._roster = Roster(store, this_host)
        self._over = asyncio.Event()
        self._requests = Requests(self._roster, self._over.set)
        self._connections = 0
        self._last_request = time.monotonic()
        self._heartbeat: dict[str, Any] = {}

    async def run(self, listening: socket.socket) -> None:
        """Answer requests and follow conversations, until there is nothing left to do."""
        roster = self._roster
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._over.set)
        server = await asyncio.start_unix_server(
            self._serve, sock=listening, limit=protocol.LONGEST
        )
        if roster.start_backend():
            roster.adopt()
        roster.spawn(self._follow())
        roster.spawn(self._send_heartbeats())
        roster.spawn(self._housekeep())
        await self._over.wait()
        # Whoever starts a daemon from now on waits for our lock.
        with contextlib.suppress(FileNotFoundError):  # the store was deleted
            os.unlink(protocol.SOCKET)
        server.close()
        roster.remember_all()
        await self._retract_heartbeat()
        with contextlib.suppress(FileNotFoundError):
            notes.tidy(roster.directory)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        waiting = asyncio.create_task(_write_wait_lines(writer))
        try:
            line = await reader.readline()
            if daemon_client.peer_of(writer.get_extra_info("socket")) != os.geteuid():
                answer = self._requests.refusal()
            else:
                answer = await self._requests.answer(line)
            waiting.cancel()
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        except (ConnectionError, ValueError):
            pass  # who asked is gone
        except protocol.Superseded:
            self._over.set()  # who asked starts another daemon, which fits them
        finally:
            waiting.cancel()
            self._connections -= 1
            self._last_request = time.monotonic()
            writer.close()

    async def _follow(self) -> None:
        while not self._over.is_set():
            self._roster.maintain_due()
            if self._is_idle():
                self._over.set()
            await asyncio.sleep(_TICK)

    def _is_idle(self) -> bool:
        """Whether nobody needs this daemon any more; of a store that was deleted, nobody does."""
        if not os.path.isdir(self._roster.store):
            return True
        is_unused = not self._connections and not self._roster.has_claudes
        return is_unused and time.monotonic() - self._last_request > _IDLE_TIMEOUT

    async def _send_heartbeats(self) -> None:
        """Tell that this host lives, and what it holds, three times before that expires."""
        roster, this_host, last = self._roster, self._roster.this_host, 0.0
        while True:
            backend = roster.backend
            if backend is not None and backend.is_here:
                heartbeat = {
                    "hostname": this_host.hostname,
                    "incarnation": this_host.incarnation,
                    "held": roster.held(),
                }
                is_due = time.monotonic() - last > backend.life / 3
                if is_due or heartbeat != self._heartbeat:
                    with contextlib.suppress(Unavailable):
                        await backend.put_heartbeat(this_host.host, heartbeat)
                        self._heartbeat, last = heartbeat, time.monotonic()
            await event_wait.wait(roster.has_released, _TICK)
            roster.has_released.clear()

    async def _housekeep(self) -> None:
        """Look after forks and the space once in a while; once a day, forget what is too old."""
        while True:
            backend = self._roster.backend
            is_here = backend is not None and backend.is_here
            if backend is not None and is_here:
                with contextlib.suppress(Unavailable, Hostile):
                    await self._roster.verify_forks()
                    self._requests.space_used = await backend.space_used()
                    if self._heartbeat and expiry.is_due(self._roster.directory):
                        await expiry.forget(backend, self._roster.this_host, expiry.days())
            await asyncio.sleep(_HOUSEKEEPING_INTERVAL if is_here else _TICK)

    async def _retract_heartbeat(self) -> None:
        backend = self._roster.backend
        if backend is None or not backend.is_here or self._roster.held():
            return
        with contextlib.suppress(Unavailable):
            await backend.put_heartbeat(self._roster.this_host.host, None)


def main() -> None:
    """Be the sync daemon of the store that the command line names, unless one runs."""
    (store,) = sys.argv[1:]
    os.umask(0o077)
    os.chdir(store)
    if not _acquire_lock():
        return
    listening = _listen()
    log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.dup2(log, 2)
    try:
        asyncio.run(_run(store, host.identify(store, notes.directory(store)), listening))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(protocol.SOCKET)


async def _run(store: str, this_host: host.Host, listening: socket.socket) -> None:
    await SyncDaemon(store, this_host).run(listening)


def _acquire_lock() -> bool:
    """Acquire the lock that only the end of this process releases; False if a daemon runs."""
    file = os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_TIMEOUT
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)  # for who has to kill it
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


async def _write_wait_lines(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(protocol.WAIT)
        await asyncio.sleep(_WAIT_LINE_INTERVAL)
