"""Whether the fleet's servers can be used, as four states; nothing of it outlives the daemon.

    ABSENT    no server speaks, or those that do refuse this host
    AGREEING  a server speaks, and the cluster is electing leaders: worth waiting for
    HERE      the streams answer
    STUCK     a server speaks, and after AGREEMENT_TIMEOUT the streams still do not answer

    ABSENT ── a server speaks ──▶ AGREEING ── the streams answer ──▶ HERE
    AGREEING ── AGREEMENT_TIMEOUT since it began ──▶ STUCK ── the streams answer ──▶ HERE
    HERE ── late, no majority, connection closed ──▶ AGREEING
    any ── no server speaks, or all refuse ──▶ ABSENT

Failed tries do not renew AGREEING: it ends AGREEMENT_TIMEOUT after the first server spoke.
"""

from __future__ import annotations

import asyncio
import enum
import time
from typing import TYPE_CHECKING

from shim.fleet import event_wait
from shim.fleet.backend import AGREEMENT_TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable


class Phase(enum.Enum):
    """The states."""

    ABSENT = "absent"
    AGREEING = "agreeing"
    HERE = "here"
    STUCK = "stuck"


class Availability:
    """The state, and `why` the servers cannot be used in it; empty while they are HERE."""

    def __init__(self, why: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.why = why
        self._phase = Phase.ABSENT
        self._clock = clock
        self._agreeing_since = 0.0
        self._changed = asyncio.Event()

    @property
    def phase(self) -> Phase:
        """The state now."""
        if self._phase is Phase.AGREEING and self.remaining() <= 0:
            self._become(Phase.STUCK)
        return self._phase

    def remaining(self) -> float:
        """Seconds until AGREEING ends."""
        return self._agreeing_since + AGREEMENT_TIMEOUT - self._clock()

    def server_spoke(self) -> None:
        """A server speaks; whether the streams answer is not known yet."""
        if self.phase is Phase.ABSENT:
            self._begin_to_agree()

    def is_ready(self) -> None:
        """The streams answer."""
        self.why = ""
        self._become(Phase.HERE)

    def is_lost(self, why: str) -> None:
        """Servers that were HERE can be used no longer."""
        if self.phase is Phase.HERE:
            self.why = why
            self._begin_to_agree()

    def is_absent(self, why: str) -> None:
        """No server speaks, or those that do refuse this host."""
        self.why = why
        self._become(Phase.ABSENT)

    async def wait_for_change(self, timeout: float) -> None:
        """Wait until the state may have changed, for `timeout` seconds at most."""
        await event_wait.wait(self._changed, timeout)

    def _begin_to_agree(self) -> None:
        self._agreeing_since = self._clock()
        self._become(Phase.AGREEING)

    def _become(self, phase: Phase) -> None:
        self._phase = phase
        self._changed.set()
        self._changed = asyncio.Event()
