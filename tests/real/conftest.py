"""Real Claude Code behind the launcher, and the stand-in for its model."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import nats
import pytest
from nats.js.api import StreamConfig

from tests.support.fleet import Host
from tests.support.messages_api import MessagesApi
from tests.support.real_claude import VERSIONS, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.nats import NatsServer


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, api: MessagesApi, launcher_path: Path) -> Iterator[World]:
    with World(tmp_path, api.url, launcher_path) as running:
        yield running


@pytest.fixture(params=VERSIONS)
def any_claude(
    request: pytest.FixtureRequest, tmp_path: Path, api: MessagesApi, launcher_path: Path
) -> Iterator[World]:
    """A world of each version of Claude Code, for rules that depend on it."""
    with World(tmp_path, api.url, launcher_path, request.param) as running:
        yield running


@pytest.fixture
def hosts(
    tmp_path: Path, api: MessagesApi, launcher_path: Path, nats_server: NatsServer
) -> Iterator[tuple[Host, Host]]:
    """Two hosts of a fleet, of which neither's sync daemon has anything to complain of."""
    where = (api.url, launcher_path, nats_server.url)
    with Host(tmp_path / "a", *where) as a, Host(tmp_path / "b", *where) as b:
        yield a, b
        assert a.log() + b.log() == ""


@pytest.fixture
def short_life(nats_server: NatsServer) -> float:
    """Seconds after which a host that gives no heartbeat counts as dead."""

    async def make() -> None:
        client = await nats.connect(nats_server.url)
        bucket = StreamConfig("KV_claude_couriers", subjects=["$KV.claude_couriers.>"])
        await client.jetstream().add_stream(bucket, max_age=2, max_msgs_per_subject=1)
        await client.close()

    asyncio.run(make())
    return 2.0
