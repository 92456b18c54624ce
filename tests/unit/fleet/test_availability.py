"""Whether servers are worth waiting for: the four states, by what happens to them."""

from __future__ import annotations

import pytest

from shim.fleet.availability import Availability, Phase
from shim.fleet.backend import AGREEMENT_TIMEOUT


class Clock:
    """Seconds, as a test has them pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def availability(clock: Clock) -> Availability:
    return Availability("none has answered yet", clock)


def test_servers_that_never_spoke_are_absent(availability: Availability) -> None:
    availability.is_absent("connection refused")
    assert (availability.phase, availability.why) == (Phase.ABSENT, "connection refused")


def test_a_server_that_speaks_is_waited_for_until_its_streams_answer(
    availability: Availability,
) -> None:
    availability.server_spoke()
    assert availability.phase is Phase.AGREEING
    availability.is_ready()
    assert (availability.phase, availability.why) == (Phase.HERE, "")


def test_tries_that_fail_do_not_make_the_wait_longer(
    availability: Availability, clock: Clock
) -> None:
    availability.server_spoke()
    for _ in range(20):
        clock.now += AGREEMENT_TIMEOUT / 20
        availability.server_spoke()
    assert availability.phase is Phase.STUCK
    availability.server_spoke()
    assert availability.phase is Phase.STUCK


def test_streams_that_answer_late_are_here_all_the_same(
    availability: Availability, clock: Clock
) -> None:
    availability.server_spoke()
    clock.now += 2 * AGREEMENT_TIMEOUT
    availability.is_ready()
    assert availability.phase is Phase.HERE


def test_servers_that_are_lost_are_waited_for_anew(
    availability: Availability, clock: Clock
) -> None:
    availability.server_spoke()
    availability.is_ready()
    clock.now += 100
    availability.is_lost("late")
    assert (availability.phase, availability.remaining()) == (Phase.AGREEING, AGREEMENT_TIMEOUT)


@pytest.mark.parametrize("happens", ["server_spoke", "is_ready"])
def test_once_none_speaks_none_is_waited_for(availability: Availability, happens: str) -> None:
    availability.server_spoke()
    getattr(availability, happens)()
    availability.is_absent("gone")
    assert (availability.phase, availability.why) == (Phase.ABSENT, "gone")


def test_what_was_not_here_cannot_be_lost(availability: Availability) -> None:
    availability.is_lost("late")
    assert availability.phase is Phase.ABSENT
