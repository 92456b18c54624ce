"""A host on the minority side of a partition goes on by itself, and comes back when it heals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.fleet import Host
from tests.support.nats_proxied import ProxiedCluster
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi

# Seconds for servers to agree on a leader, at twenty times the load.
AGREEMENT_TIMEOUT = 240.0


def is_served(host: Host) -> bool:
    """Whether the servers that a host reaches take what it says."""
    return bool(host.status().get("engine", {}).get("is_reachable"))


def test_the_minority_refuses_and_its_host_goes_on_alone_until_it_heals(
    tmp_path: Path, api: MessagesApi, launcher_path: Path
) -> None:
    (tmp_path / "nats").mkdir()
    with ProxiedCluster(tmp_path / "nats") as cluster:
        one, *others = (server.url for server in cluster.servers)
        with (
            Host(tmp_path / "a", api.url, launcher_path, one) as a,
            Host(tmp_path / "b", api.url, launcher_path, ",".join(others)) as b,
        ):
            assert a.ask("one", room="r") == "heard: one"
            assert b.ask("two", room="r") == "heard: two | before: one"
            b.wait_until_given_back()

            cluster.isolate(0)
            alone = a.run("-p", "alone", room="of a")
            wait_until(lambda: is_served(b), "a leader of the other two", AGREEMENT_TIMEOUT)
            assert b.ask("three", room="r") == "heard: three | before: one ; two"
            cluster.heal()
            cluster.wait_until_whole()

            wait_until(lambda: is_served(a), "a majority for the third one", AGREEMENT_TIMEOUT)
            a.wait_until_given_back()
            b.wait_until_given_back()
            assert b.ask("with b", room="of a") == "heard: with b | before: alone"
            assert a.ask("four", room="r") == "heard: four | before: one ; two ; three"

    assert alone.stdout == "heard: alone\n"
    assert alone.stderr.startswith("claude-shim: running without the fleet: ")
