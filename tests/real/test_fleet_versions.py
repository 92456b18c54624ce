"""Versions of the package side by side: it works, or one line says what to do; nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import nats
import pytest

import shim
from shim.fleet import protocol
from shim.fleet.jetstream import FLEET_CONFIG, ROOMS, STREAM
from tests.support.fleet import Host

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi
    from tests.support.nats import NatsServer

    Hosts = tuple[Host, Host]

ALONE = "claude-shim: running without the fleet: "


@pytest.fixture
def newer_launcher(tmp_path: Path) -> Path:
    """The launcher of a copy of the package that speaks to sync daemons in the next version."""
    root = tmp_path / "newer"
    package = shutil.copytree(Path(shim.__file__).parent, root / "shim")
    module = package / "fleet" / "protocol.py"
    written = f'VERSION: "Final" = {protocol.VERSION}'
    changed = module.read_text().replace(written, f'VERSION: "Final" = {protocol.VERSION + 1}')
    module.write_text(changed)
    command = [sys.executable, "-m", "shim.commands", "install", "--bin-dir", str(root / "own")]
    environ = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run(command, check=True, capture_output=True, env=environ, cwd=root)
    return root / "own" / "claude"


@pytest.fixture
def older_and_newer(
    tmp_path: Path,
    api: MessagesApi,
    launcher_path: Path,
    newer_launcher: Path,
    nats_server: NatsServer,
) -> Iterator[Hosts]:
    """One host, by an older and by a newer package."""
    where = tmp_path / "host", api.url
    with (
        Host(*where, launcher_path, nats_server.url) as older,
        Host(*where, newer_launcher, nats_server.url) as newer,
    ):
        yield older, newer


def test_a_newer_package_replaces_the_daemon_of_an_older_one(older_and_newer: Hosts) -> None:
    older, newer = older_and_newer
    older.ask("one", room="r")
    before = older.daemon

    assert newer.ask("two", room="r") == "heard: two | before: one"
    assert newer.daemon not in (None, before)


def test_an_older_package_beside_a_newer_daemon_says_what_to_do(older_and_newer: Hosts) -> None:
    older, newer = older_and_newer
    newer.ask("one", room="r")

    done = older.run("-p", "two", room="r")

    assert done.stdout == "heard: two | before: one\n"
    assert done.stderr == f"{ALONE}the sync daemon is of a newer claude-shim: update this one\n"
    assert newer.ask("three", room="r") == "heard: three | before: one ; two"


def test_what_a_claude_says_whose_daemon_was_replaced_is_in_the_fleet_in_the_end(
    older_and_newer: Hosts,
    tmp_path: Path,
    api: MessagesApi,
    launcher_path: Path,
    nats_server: NatsServer,
) -> None:
    older, newer = older_and_newer
    stream = older.stream(room="r")
    stream.ask("one")
    newer.ask("hello", room="another")
    stream.ask("two")
    stream.close()

    with Host(tmp_path / "b", api.url, launcher_path, nats_server.url) as b:
        assert b.ask("three", room="r") == "heard: three | before: one ; two"


async def change(server: NatsServer, stream: str, subject: str) -> int:
    """Have the last message of a subject be of the next version; its place."""
    client = await nats.connect(server.url)
    jetstream = client.jetstream()
    last = await jetstream.get_last_msg(stream, subject)
    assert last.data
    head, *body = last.data.partition(b"\n")
    said = json.loads(head)
    said["version"] += 1
    acknowledged = await jetstream.publish(last.subject, json.dumps(said).encode() + b"".join(body))
    await client.close()
    return acknowledged.seq


async def last_place(server: NatsServer) -> int:
    client = await nats.connect(server.url)
    found = await client.jetstream().stream_info(STREAM)
    await client.close()
    return int(found.state.last_seq)


def test_records_of_a_newer_package_are_left_as_they_are(
    hosts: Hosts, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    a.wait_until_given_back()
    place = asyncio.run(change(nats_server, STREAM, f"{STREAM}.*"))

    for host in (b, a):
        done = host.run("-p", "two", room="r")
        assert done.stdout.startswith("heard: two")
        assert done.stderr == (
            f"{ALONE}a newer claude-shim has written to this fleet: update it here\n"
        )

    assert asyncio.run(last_place(nats_server)) == place


def test_a_fleet_of_a_newer_package_is_left_alone(hosts: Hosts, nats_server: NatsServer) -> None:
    a, b = hosts
    a.ask("one", room="r")
    a.wait_until_given_back()
    asyncio.run(change(nats_server, f"KV_{ROOMS}", f"$KV.{ROOMS}.{FLEET_CONFIG}"))
    place = asyncio.run(last_place(nats_server))

    done = b.run("-p", "two", room="r")

    assert done.stdout == "heard: two\n"
    assert done.stderr == f"{ALONE}a newer claude-shim has written to this fleet: update it here\n"
    assert asyncio.run(last_place(nats_server)) == place
