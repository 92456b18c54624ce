"""A stand-in for the sync daemon of a store: it gives set answers and records its requests."""

from __future__ import annotations

import json
import socketserver
import threading
from typing import TYPE_CHECKING, Any

from shim.fleet import protocol

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

Json = dict[str, Any]

THIS = "0123456789abcdef0123456789abcdef"
"""The id of its host."""
OTHER = "fedcba9876543210fedcba9876543210"
"""The id of another host of the fleet."""


class SyncDaemon:
    """A sync daemon from `with` to its end; any request without an answer of its own is `done`.

    `backend`, `here`, `elsewhere`, `failed` and `rooms` are what it says of them.
    """

    def __init__(self, store: Path) -> None:
        self.asked: list[Json] = []
        self.backend: Json = {
            "url": "10.0.0.5:4222",
            "is_reachable": True,
            "is_sealed": False,
            "why": None,
            "version": "2.15.1",
            "server": "one",
            "is_cluster": False,
            "max_payload": 1 << 20,
            "stream": {
                "replicas": 1,
                "discard": "new",
                "messages": 1204,
                "bytes": 12_300_000,
                "max_bytes": -1,
                "taken": 0.0,
            },
        }
        self.here: list[Json] = []
        self.elsewhere: list[Json] = []
        self.failed: list[Json] = []
        self.rooms: list[Json] = []
        self.unreadable = 0
        self.answers: dict[str, Json] = {}
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._server = _Server(self, store / protocol.SOCKET)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> SyncDaemon:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def answer(self, question: Json) -> Json:
        """What it says to a question."""
        self.asked.append(question)
        request = question["request"]
        if request in self.answers:
            return self.answers[request]
        if request == "status":
            return self._status()
        if request == "rooms":
            return {
                "answer": "rooms",
                "this": THIS,
                "rooms": self.rooms,
                "unreadable": self.unreadable,
            }
        return {"answer": "done"}

    def _status(self) -> Json:
        return {
            "answer": "status",
            "host": THIS,
            "hostname": "here",
            "pid": 4711,
            "incarnation": "1",
            "since": "2026-01-02T03:04:05Z",
            "engine": self.backend,
            "conversations": self.here,
            "behind": sum(each["behind"] for each in self.here),
            "failed_flushes": self.failed,
            "elsewhere": self.elsewhere,
        }


def room(name: str, session_id: str, host: str = OTHER, **more: Any) -> Json:
    """A room as a sync daemon reports it, with the agent `claude`."""
    return {
        "room": name,
        "agent": "claude",
        "session_id": session_id,
        "host": host,
        "hostname": "here" if host == THIS else "build-7",
        "since": "2026-01-02T03:04:05Z",
        "moved": "2026-01-01T03:04:05Z",
        "earlier": [],
        **more,
    }


def running(name: str, session_id: str, **more: Any) -> Json:
    """A claude on another host, as a sync daemon reports it."""
    return {
        "room": name,
        "agent": "claude",
        "session_id": session_id,
        "host": OTHER,
        "hostname": "build-7",
        "pid": 17,
        "kind": "one-shot",
        "since": "2026-01-02T03:04:05Z",
        **more,
    }


def following(name: str, session_id: str, **more: Any) -> Json:
    """A conversation of this host, as a sync daemon reports it."""
    return {
        "room": name,
        "agent": "claude",
        "session_id": session_id,
        "pid": 0,
        "kind": "one-shot",
        "transcript": "/home/ada/x.jsonl",
        "since": "2026-01-02T03:04:05Z",
        "behind": 0,
        "is_fenced": False,
        "fork": None,
        "is_held": True,
        **more,
    }


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def __init__(self, daemon: SyncDaemon, path: Path) -> None:
        self.daemon = daemon
        super().__init__(str(path), _Handler)


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        question = json.loads(self.rfile.readline())
        self.wfile.write(protocol.WAIT)
        self.wfile.write(protocol.encode(_flat(self.server.daemon.answer(question))))


def _flat(message: Json) -> Json:
    """A message whose lists and objects are JSON already, as the protocol wants them."""
    return {
        name: json.dumps(value).encode() if isinstance(value, (list, dict)) else value
        for name, value in message.items()
    }
