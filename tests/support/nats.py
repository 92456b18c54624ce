"""A real nats-server with JetStream on loopback, which tests kill, freeze and start again."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from types import TracebackType

TIMEOUT = 30.0
"""Seconds to wait for the server to be ready."""

_BINARY = Path(sys.executable).with_name("nats-server")
_CONFIGURATION = """
host: "127.0.0.1"
port: {port}
jetstream {{ store_dir: {directory}, sync_interval: always }}
{more}
"""


def free_port() -> int:
    """A port of loopback that nobody listens on, and whose number stands in a warning as it is.

    Warnings leave 429 out, as callers act on it. It is none of those that a system gives to whoever
    asks for any: another test would get it meanwhile.
    """
    while True:
        port = random.randrange(10_000, 32_000)
        if "429" in str(port):
            continue
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


class NatsServer:
    """A server from `with` to its end, on the same port and data however often it is restarted.

    `directory` is empty and its own; `more` is added to the configuration.
    """

    def __init__(self, directory: Path, more: str = "") -> None:
        self.directory = directory
        self._more = more
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> NatsServer:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has printed."""
        return (self.directory / "log").read_text()

    def start(self) -> None:
        """Start it, and wait until it answers. Raises TimeoutError with its log."""
        configuration = self.directory / "server.conf"
        directory = json.dumps(str(self.directory))
        configuration.write_text(
            _CONFIGURATION.format(port=self._port, directory=directory, more=self._more)
        )
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen([_BINARY, "-c", configuration], stderr=log)
        self._wait_until_ready(self._process)

    def kill(self) -> None:
        """SIGKILL it, as a power cut would."""
        if self._process:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """SIGKILL it, and start it again."""
        self.kill()
        self.start()

    def stop(self) -> None:
        """Freeze it: its connections stay, and nothing answers."""
        self._send(signal.SIGSTOP)
        wait_until(self._is_stopped, "a server that does nothing more")

    def cont(self) -> None:
        """Let it run again."""
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _is_stopped(self) -> bool:
        threads = psutil.Process(self.pid).threads()
        return all(psutil.Process(it.id).status() == psutil.STATUS_STOPPED for it in threads)

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + TIMEOUT
        while not self._is_ready():
            if time.monotonic() > end or process.poll() is not None:
                self.kill()
                raise TimeoutError(f"nats-server is not ready: {self.log}")
            time.sleep(0.005)

    def _is_ready(self) -> bool:
        """Whether it greets with JetStream switched on."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), TIMEOUT) as connection:
                return b'"jetstream":true' in connection.recv(4096)
        except OSError:
            return False
