"""A fleet of three servers loses nothing when one of them dies."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.real.test_commands import claude_shim
from tests.support.fleet import Host
from tests.support.nats_cluster import Cluster
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi


def is_served(host: Host) -> bool:
    """Whether the servers that are left have agreed on who leads."""
    return bool(host.status().get("engine", {}).get("stream"))


def test_a_room_is_resumed_whichever_server_dies(
    tmp_path: Path, api: MessagesApi, launcher_path: Path, long: bool
) -> None:
    (tmp_path / "nats").mkdir()
    with Cluster(tmp_path / "nats") as cluster:
        where = (api.url, launcher_path, cluster.url)
        with Host(tmp_path / "a", *where) as a, Host(tmp_path / "b", *where) as b:
            said: list[str] = []
            for host in (a, b):
                # The first one has the streams made, which a cluster takes its time for.
                host.run("-p", "hello", room=f"of {host.home}")
                wait_until(lambda host=host: is_served(host), "the streams")
            for dies in (None, *cluster.servers[: None if long else 1]):
                if dies:
                    dies.kill()
                for host in (a, b):
                    wait_until(lambda host=host: is_served(host), "a new leader")
                    words = f"turn {len(said)}"
                    before = f" | before: {' ; '.join(said)}" if said else ""
                    assert host.ask(words, room="r") == f"heard: {words}{before}"
                    said.append(words)
                    host.wait_until_given_back()
                if dies:
                    dies.start()
            status = json.loads(claude_shim(a, "fleet", "status", "--json"))

    assert status["cluster"]
