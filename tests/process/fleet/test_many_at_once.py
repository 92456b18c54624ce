"""Many calls of a host at once, whose one courier is started by the first of them."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest

from shim.fleet import asking
from tests.support.nats import NatsServer
from tests.support.real_claude import wait_until
from tests.support.recorder import World

MANY = 20


@pytest.fixture
def world(world: World, nats_server: NatsServer) -> Iterator[World]:
    """A host of a fleet, whose claudes live on."""
    world.environment["NSED_FLEET_URL"] = nats_server.url
    world.claude.then("exec sleep 600")
    yield world
    with suppress(asking.Unanswered):
        asking.ask(str(world.store.parent), "stop", starts=False)


def followed(world: World) -> set[str]:
    """The rooms whose claude the courier follows."""
    try:
        said = asking.ask(str(world.store.parent), "status", starts=False)
    except asking.Unanswered:
        return set()
    return {each["room"] for each in said["conversations"] if each["pid"]}


def test_every_claude_is_followed(world: World) -> None:
    rooms = {f"room-{number}" for number in range(MANY)}
    with ExitStack() as stack:
        for room in rooms:
            call = stack.enter_context(world.start("-p", env={"NSED_ROOM_ID": room}))
            stack.callback(call.kill)

        wait_until(lambda: followed(world) == rooms, "all are followed", 120)
