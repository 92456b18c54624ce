"""With a key of the fleet's, who has the server has no word of what is said; without, no host."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import nats
import pytest

from shim.fleet import keys
from shim.fleet.jetstream import HEARTBEATS
from tests.support.fleet import Host
from tests.support.messages_api import Reply
from tests.support.real_claude import wait_until
from tests.support.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.nats import NatsServer

    Add = Callable[..., Host]

ALONE = "claude-shim: running without the fleet: "
ALLOWED = "--dangerously-skip-permissions"


@pytest.fixture
def add(tmp_path: Path, api: MessagesApi, launcher_path: Path) -> Iterator[Add]:
    """Adds a host, by its name, where its server is, and the keys of its file."""
    hosts: list[Host] = []

    def add(name: str, url: str, *lines: str) -> Host:
        host = Host(tmp_path / name, api.url, launcher_path, url)
        hosts.append(host)
        if lines:
            path = tmp_path / f"{name}.keys"
            write(path, *lines)
            host.seal_with(path)
        return host

    yield add
    for host in hosts:
        host.__exit__(None, None, None)
        assert host.log() == ""


def write(path: Path, *lines: str) -> None:
    path.write_text("\n".join(lines))
    path.chmod(0o600)


def new_key(path: Path) -> str:
    keys.make(str(path))
    return path.read_text().splitlines()[-1]


@pytest.fixture
def key(tmp_path: Path) -> str:
    return new_key(tmp_path / "one.key")


@pytest.fixture
def other_key(tmp_path: Path) -> str:
    return new_key(tmp_path / "other.key")


def disk(server: NatsServer) -> bytes:
    """All that the server has on its disk, with the names of its files."""
    found = b""
    for where, _, names in os.walk(server.directory):
        for name in names:
            with open(f"{where}/{name}", "rb") as file:
                found += f"{where}/{name}\n".encode() + file.read()
    return found


def messages(server: NatsServer) -> dict[str, int]:
    """The number of the last message that the conversations and the rooms have ever got."""

    async def look() -> dict[str, int]:
        client = await nats.connect(server.url)
        found = await client.jetstream().streams_info()
        await client.close()
        return {
            it.config.name: it.state.last_seq
            for it in found
            if it.config.name != f"KV_{HEARTBEATS}"
        }

    return asyncio.run(look())


def test_server_and_network_have_no_word_and_no_name(
    add: Add, nats_server: NatsServer, api: MessagesApi, key: str, tmp_path: Path
) -> None:
    long = {"command": "printf 'blancmange %.0s' $(seq 9000)", "description": "long"}
    api.on("make it long", Reply(tool=("Bash", long)))
    with Recording(nats_server.url) as recording:
        a, b = add("a", recording.url, key), add("b", recording.url, key)
        a.ask("my favourite is marzipan", room="ballroom", agent="butler")
        a.ask("make it long", ALLOWED, room="ballroom", agent="butler")
        a.wait_until_given_back()
        answer = b.ask("and then", room="ballroom", agent="butler")
        b.status()
        b.wait_until_given_back()

    secrets = [
        *(b"marzipan", b"blancmange", b"and then", b"ballroom", b"butler", b"tool-results"),
        *(
            f'"{os.uname().nodename}"'.encode(),
            str(tmp_path).encode(),
            bytes(a.work).replace(b"/", b"-"),
        ),
        *(path.stem.encode() for path in a.transcripts_of("ballroom", "butler")),
        b'"kind"',
        b"sessionId",
    ]
    assert answer.startswith("heard: and then | before: my favourite is marzipan")
    on_disk = disk(nats_server)
    assert len(on_disk) > 10_000
    assert [it for it in secrets if it in on_disk or it in recording.heard] == []


def test_the_same_without_a_key_is_there_to_be_read(add: Add, nats_server: NatsServer) -> None:
    with Recording(nats_server.url) as recording:
        a = add("a", recording.url)
        a.ask("my favourite is marzipan", room="ballroom", agent="butler")
        a.wait_until_given_back()

    for name in (b"ballroom", b"butler", f'"{os.uname().nodename}"'.encode()):
        assert name in recording.heard
        assert name in disk(nats_server)


def test_a_host_without_the_key_or_with_another_one_goes_on_alone(
    add: Add, nats_server: NatsServer, key: str, other_key: str, tmp_path: Path
) -> None:
    a = add("a", nats_server.url, key)
    a.ask("one", room="r")
    a.wait_until_given_back()
    without, wrong = add("b", nats_server.url), add("c", nats_server.url, other_key)
    before = messages(nats_server)

    said = {host: host.run("-p", "two", room="r") for host in (without, wrong)}

    assert [done.stdout for done in said.values()] == ["heard: two\n"] * 2
    assert said[without].stderr == (
        f"{ALONE}the conversations of this fleet are encrypted: name the file with their key in"
        " NSED_FLEET_KEY_FILE\n"
    )
    assert said[wrong].stderr == (
        f"{ALONE}the conversations of this fleet are encrypted with a key that"
        f" {tmp_path}/c.keys lacks\n"
    )
    assert messages(nats_server) == before


def test_a_host_with_a_key_leaves_an_open_fleet_alone(
    add: Add, nats_server: NatsServer, key: str
) -> None:
    a = add("a", nats_server.url)
    a.ask("one", room="r")
    a.wait_until_given_back()
    before = messages(nats_server)

    done = add("b", nats_server.url, key).run("-p", "two", room="r")

    assert done.stdout == "heard: two\n"
    assert done.stderr == (
        f"{ALONE}the conversations of this fleet are open, and NSED_FLEET_KEY_FILE encrypts: unset"
        " it, or begin an encrypted fleet elsewhere\n"
    )
    assert messages(nats_server) == before


def test_a_file_of_keys_that_others_can_read_is_refused(
    add: Add, nats_server: NatsServer, key: str, tmp_path: Path
) -> None:
    a = add("a", nats_server.url, key)
    (tmp_path / "a.keys").chmod(0o644)

    done = a.run("-p", "one", room="r")

    path = f"{tmp_path}/a.keys"
    assert done.stdout == "heard: one\n"
    assert done.stderr == (
        f"{ALONE}{path}, which NSED_FLEET_KEY_FILE names, is open to others: `chmod go= {path}`\n"
    )


def test_a_key_that_is_put_right_brings_the_turns_that_were_said_alone(
    add: Add, nats_server: NatsServer, key: str, other_key: str, tmp_path: Path
) -> None:
    a, b = add("a", nats_server.url, key), add("b", nats_server.url, other_key)
    a.ask("hello", room="another")
    assert b.run("-p", "one", room="r").stderr.startswith(ALONE)

    write(tmp_path / "b.keys", key)

    assert b.ask("two", room="r") == "heard: two | before: one"
    b.wait_until_given_back()
    assert a.ask("three", room="r") == "heard: three | before: one ; two"


def test_a_new_key_in_front_of_the_old_one(
    add: Add, nats_server: NatsServer, key: str, other_key: str, tmp_path: Path
) -> None:
    a, b = add("a", nats_server.url, key), add("b", nats_server.url, key)
    a.ask("one", room="r")
    for host in ("a", "b"):
        write(tmp_path / f"{host}.keys", key, other_key)
    b.ask("two", room="r")
    write(tmp_path / "a.keys", other_key, key)

    assert a.ask("three", room="r") == "heard: three | before: one ; two"
    a.ask("hello", room="new")

    assert b.ask("four", room="r") == "heard: four | before: one ; two ; three"
    assert b.ask("again", room="new") == "heard: again | before: hello"


def test_a_host_that_misses_the_new_key_is_told_and_writes_nothing(
    add: Add, nats_server: NatsServer, key: str, other_key: str, tmp_path: Path
) -> None:
    a, b = add("a", nats_server.url, key), add("b", nats_server.url, key)
    a.ask("one", room="r")
    b.ask("two", room="r")
    b.wait_until_given_back()
    write(tmp_path / "a.keys", other_key, key)
    a.ask("three", room="r")
    a.wait_until_given_back()
    wait_until(lambda: not b.status()["engine"]["is_reachable"], "the other host is told")
    before = messages(nats_server)

    done = b.run("-p", "alone", room="another")

    assert done.stdout == "heard: alone\n"
    assert done.stderr.endswith(f"with a key that {tmp_path}/b.keys lacks\n")
    assert messages(nats_server) == before


def test_an_open_fleet_that_is_emptied_is_a_sealed_one_and_all_hosts_go_on(
    add: Add, nats_server: NatsServer, key: str, tmp_path: Path
) -> None:
    a, b = add("a", nats_server.url), add("b", nats_server.url)
    a.ask("one", room="r")
    b.ask("two", room="r")
    for host in (a, b):
        host.wait_until_given_back()
        host.kill_daemon()
    asyncio.run(empty(nats_server))
    for host, name in ((a, "a"), (b, "b")):
        write(tmp_path / name / "keys", key)
        host.seal_with(tmp_path / name / "keys")

    assert b.ask("three", room="r") == "heard: three | before: one ; two"
    assert a.ask("four", room="r") == "heard: four | before: one ; two ; three"
    c = add("c", nats_server.url, key)
    assert c.ask("five", room="r") == "heard: five | before: one ; two ; three ; four"


async def empty(server: NatsServer) -> None:
    """Delete all that a server has stored."""
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    for found in await jetstream.streams_info():
        await jetstream.delete_stream(found.config.name)
    await client.close()
