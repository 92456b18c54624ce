"""A proxy on loopback that passes a connection on, and records every byte of both directions."""

from __future__ import annotations

import socket
import socketserver
import threading
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from types import TracebackType

_CHUNK = 1 << 16


class Recording:
    """A way to a server from `with` to its end, on which all that is said is in `heard`."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.there = parts.hostname, parts.port
        self.heard = bytearray()
        self._listening = _Listening(self)
        self._thread = threading.Thread(target=self._listening.serve_forever, args=(0.02,))

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.shutdown()
        self._listening.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._listening.server_address[1]}"


class _Listening(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, recording: Recording) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.recording = recording


class _Passing(socketserver.BaseRequestHandler):
    server: _Listening
    request: socket.socket

    def handle(self) -> None:
        with socket.create_connection(self.server.recording.there) as there:
            back = threading.Thread(target=self._pass, args=(there, self.request), daemon=True)
            back.start()
            self._pass(self.request, there)
            back.join()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        """Pass on what comes, until either side ends; then both do."""
        try:
            while data := source.recv(_CHUNK):
                self.server.recording.heard += data
                target.sendall(data)
        except OSError:
            pass
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
