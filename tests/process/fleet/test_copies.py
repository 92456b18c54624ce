"""How many copies a stream has on a cluster that is not whole yet."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from shim.fleet.jetstream import JetStream
from tests.support.meanwhile import meanwhile
from tests.support.nats_proxied import ProxiedCluster

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Seconds for a cluster to do something, at twenty times the load.
TIMEOUT = 240.0


async def copies(url: str, is_enough: Callable[[int], bool]) -> int:
    """How many copies a host finds, which connects until there are enough."""
    deadline = time.monotonic() + TIMEOUT
    found = 0
    while not is_enough(found) and time.monotonic() < deadline:
        backend = JetStream(url, "")
        async with meanwhile(backend.run()):
            await backend.wait_until_ready()
            if backend.is_here:
                found = (await backend.about())["stream"]["replicas"]
        await asyncio.sleep(0.1)
    return found


def test_a_stream_that_was_made_while_a_server_was_missing_gets_its_third_copy(
    tmp_path: Path,
) -> None:
    with ProxiedCluster(tmp_path, begins_with=2) as cluster:
        url = ",".join(server.url for server in cluster.servers[:2])
        assert asyncio.run(copies(url, lambda found: found > 0)) == 1

        cluster.servers[2].start()

        assert asyncio.run(copies(url, lambda found: found == 3)) == 3
