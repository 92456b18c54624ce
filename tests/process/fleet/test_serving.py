"""`claude-shim fleet serve` and `stop`, with the real nats-server."""

import asyncio
import configparser
import os
import plistlib
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from shim.fleet import tls
from shim.fleet.backend import Unavailable
from shim.fleet.jetstream import JetStream
from shim.fleet.records import CLAIM, LeaseHolder, Record
from tests.support.certificates import Authority
from tests.support.claude_shim import ask, printed, refused
from tests.support.meanwhile import meanwhile
from tests.support.nats import free_port
from tests.support.recorder import PATIENCE, World

U = "11111111-1111-4111-8111-111111111111"
HOLDER = LeaseHolder("h", "name", "i", 7, "one-shot")


@pytest.fixture
def port(world: World) -> Iterator[str]:
    """A free port; what serves the world's store at the end is ended."""
    yield str(free_port())
    ask(world, "fleet", "stop")


def served(world: World, *args: str) -> str:
    """The URL that hosts are told, once a server runs in the background."""
    (line,) = printed(world, "fleet", "serve", "--detach", *args).splitlines()
    word, _, url = line.partition("NSED_FLEET_URL=")
    assert word == "export "
    return shlex.split(url)[0]


def records(url: str) -> int:
    """How many records the server has once one more is stored. Raises Unavailable."""

    async def append() -> int:
        backend = JetStream(url, "")
        async with meanwhile(backend.run()):
            await backend.wait_until_ready()
            last = await backend.last(U)
            after = last.sequence if last else 0
            return await backend.append(U, Record(CLAIM, HOLDER, 1), after, PATIENCE)

    return asyncio.run(append())


def test_a_server_keeps_its_records_and_its_token(world: World, port: str) -> None:
    url = served(world, "--port", port)
    assert records(url) == 1

    data = world.home / ".nsed" / "server" / "data"
    assert printed(world, "fleet", "stop") == f"Ended the server. Its data stays in {data}.\n"

    assert served(world, "--port", port) == url
    assert records(url) == 2


def test_a_server_that_runs_already_is_left_alone(world: World, port: str) -> None:
    url = served(world, "--port", port)
    pid = serving_pid(world)

    assert served(world, "--port", port) == url

    assert serving_pid(world) == pid
    assert "runs here already" in refused(world, "fleet", "serve", "--port", port)
    assert "otherwise" in refused(world, "fleet", "serve", "--detach", "--port", str(free_port()))


def serving_pid(world: World) -> int:
    said = refused(world, "fleet", "serve", "--port", str(free_port()))
    return int(said.split("process ")[1].split(",")[0])


def test_in_the_foreground_it_is_the_server_itself(world: World, port: str) -> None:
    program = Path(sys.executable).with_name("claude-shim")
    with world.start("fleet", "serve", "--port", port, program=program) as process:
        assert process.stdout
        assert process.stderr
        url = process.stdout.readline().decode().partition("=")[2].strip()
        while b"Server is ready" not in (line := process.stderr.readline()):
            assert line, "it ended"
        assert records(url) == 1

        process.send_signal(signal.SIGTERM)

        process.stderr.read()
        assert process.wait(PATIENCE) in (0, 1)
    assert "nothing" in refused(world, "fleet", "stop")


def test_the_port_may_be_part_of_the_address(world: World, port: str) -> None:
    assert served(world, "--listen", f"127.0.0.1:{port}").endswith(f"@127.0.0.1:{port}")


@pytest.mark.parametrize(
    "args",
    [("--listen", "127.0.0.1:4223", "--port", "4224"), ("--listen", "127.0.0.1:99999")],
)
def test_an_address_that_is_none_is_wrong_use(world: World, args: tuple[str, ...]) -> None:
    run = ask(world, "fleet", "serve", *args)

    assert (run.exit_code, run.stdout) == (2, b"")
    assert "--listen takes ADDRESS or ADDRESS:PORT" in run.stderr.decode()


def test_a_port_that_is_anothers_is_said_before_any_line(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        run = ask(world, "fleet", "serve", "--port", str(port))

    assert (run.exit_code, run.stdout) == (1, b"")
    assert f"cannot listen at 127.0.0.1:{port}" in run.stderr.decode()


def test_a_certificate_that_is_none_is_said_before_any_line(
    world: World, port: str, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.pem"
    broken.write_text("nothing")
    files = ("--tls-cert", str(broken), "--tls-key", str(broken))

    run = ask(world, "fleet", "serve", "--port", port, *files)

    assert (run.exit_code, run.stdout) == (1, b"")
    assert "the server does not start: " in run.stderr.decode()


def test_without_the_token_nobody_gets_in(world: World, port: str) -> None:
    url = served(world, "--port", port)
    scheme, _, address = url.partition("://")
    token, _, address = address.partition("@")
    assert len(token) >= 32

    with pytest.raises(Unavailable, match="refuses these credentials"):
        records(f"{scheme}://{address}")


def test_its_files_are_its_users_alone(world: World, port: str) -> None:
    served(world, "--port", port)

    directory = world.home / ".nsed" / "server"

    assert directory.stat().st_mode & 0o077 == 0
    assert [path for path in directory.iterdir() if path.stat().st_mode & 0o077] == []


def test_beyond_this_machine_it_says_that_words_cross_open(world: World, port: str) -> None:
    run = ask(world, "fleet", "serve", "--detach", "--listen", "0.0.0.0", "--port", port)

    assert "crosses the network open" in run.stderr.decode()
    assert f"@{os.uname().nodename}:{port}" in run.stdout.decode()


def test_with_a_certificate_it_speaks_tls(
    world: World, port: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext"]
    make += ["subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    given = ["--listen", "localhost", "--tls-cert", str(certificate), "--tls-key", str(key)]

    url = served(world, "--port", port, *given)

    assert url.startswith("tls://")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    assert records(url) == 1


def test_three_of_them_are_a_cluster_that_bears_the_loss_of_one(
    world: World, tmp_path: Path
) -> None:
    authority = Authority(tmp_path / "authority")
    certificate, key = authority.issue("server")
    ports = [free_port() for _ in range(3)]
    addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
    given = ["--cluster", addresses, "--tls-cert", str(certificate), "--tls-key", str(key)]
    given += ["--tls-ca", str(authority.path)]
    stores = [{"NSED_SESSION_DIR": str(world.root / f"server {n}")} for n in range(3)]
    line = ""
    try:
        for env, port in zip(stores, ports, strict=True):
            told_of = {"NSED_FLEET_URL": line} if line else {}
            said = printed(
                world,
                *("fleet", "serve", "--detach", "--port", str(port), *given),
                env={**env, **told_of},
            )
            url = shlex.split(said.partition("NSED_FLEET_URL=")[2])[0]
            assert url == (line or url)
            line = url
        certificates = tls.Files(str(authority.path), str(authority.of_host("host")))
        for ended in (None, stores[0]):
            if ended:
                ask(world, "fleet", "stop", env=ended)
            assert copies(JetStream(line, "", certificates=certificates)) == 3
    finally:
        for env in stores:
            ask(world, "fleet", "stop", env=env)


def copies(backend: JetStream) -> int:
    """How many copies of a stream there are, once a record is stored in it."""

    async def store() -> int:
        async with meanwhile(backend.run()):
            while True:
                with suppress(Unavailable):
                    if backend.is_here:
                        await backend.put_room("room", {}, (await backend.room("room")).revision)
                        if stream := (await backend.about())["stream"]:
                            return int(stream["replicas"])
                await asyncio.sleep(0.05)

    return asyncio.run(asyncio.wait_for(store(), PATIENCE * 4))


def test_a_server_that_cannot_start_says_why(world: World, port: str) -> None:
    served(world, "--port", port)
    other = {"NSED_SESSION_DIR": str(world.root / "other")}

    said = refused(world, "fleet", "serve", "--detach", "--port", port, env=other)

    assert "the server does not start" in said
    assert "address already in use" in said


def test_a_certificate_without_its_key_is_a_wrong_use(world: World, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").touch()

    run = ask(world, "fleet", "serve", "--tls-cert", str(tmp_path / "cert.pem"))

    assert run.exit_code == 2
    assert "go together" in run.warning


def test_a_unit_runs_the_server_of_this_store(world: World, port: str) -> None:
    store = world.root / "a store, with 100% $HOME"
    env = {"NSED_SESSION_DIR": str(store)}
    run = ask(world, "fleet", "serve", "--print-unit", "systemd", "--port", port, env=env)

    unit = configparser.ConfigParser(interpolation=None)
    unit.read_string(run.stdout.decode())
    service = unit["Service"]
    (setting,) = shlex.split(service["environment"])
    command = shlex.split(service["execstart"].replace("$$", "$"))
    assert setting.replace("%%", "%") == f"NSED_SESSION_DIR={store}"
    assert command[-5:] == ["serve", "--listen", "127.0.0.1", "--port", port]
    assert subprocess.run([*command, "--help"], capture_output=True).returncode == 0


def test_a_property_list_runs_the_same(world: World, port: str) -> None:
    run = ask(world, "fleet", "serve", "--print-unit", "launchd", "--port", port)

    agent = plistlib.loads(run.stdout)

    assert agent["ProgramArguments"][-5:] == ["serve", "--listen", "127.0.0.1", "--port", port]
