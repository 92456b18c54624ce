"""A machine in a fleet, whose claude is the recorder."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.nats import NatsServer
    from tests.support.recorder import World


@pytest.fixture
def member(world: World, nats_server: NatsServer) -> Iterator[World]:
    world.environment["NSED_FLEET_URL"] = nats_server.url
    world.environment["NSED_ROOM_ID"] = "r"
    yield world
    pid = daemon_of(world)
    if pid is not None:
        os.kill(pid, signal.SIGCONT)
        os.kill(pid, signal.SIGKILL)


def daemon_of(world: World) -> int | None:
    """The pid of the sync daemon of a world's store, if one runs."""
    try:
        pid = int((world.store.parent / "courier.lock").read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid
