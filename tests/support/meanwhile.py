"""Tasks of asyncio that run beside the body of an `async with`, and end with it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


@contextlib.asynccontextmanager
async def meanwhile(*work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run these tasks, of which none ends by itself; at the end cancel them, as often as it takes.

    nats-py swallows a cancellation now and then, and so does `wait_for` before Python 3.12.
    """
    tasks = [asyncio.ensure_future(it) for it in work]
    try:
        yield
        assert [task.exception() for task in tasks if task.done()] == []
    finally:
        while left := [task for task in tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=0.5)
