"""Waiting for an event of asyncio for some time, such that a cancellation is never lost.

`asyncio.wait_for` of Python 3.11 and before swallows one that comes as the event is set.
"""

from __future__ import annotations

import asyncio


async def wait(event: asyncio.Event, timeout: float) -> None:
    """Wait until an event is set, for `timeout` seconds at most."""
    waiting = asyncio.ensure_future(event.wait())
    try:
        await asyncio.wait((waiting,), timeout=max(timeout, 0))
    finally:
        waiting.cancel()
