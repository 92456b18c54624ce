"""Which of the fleet's servers speaks first: all are asked at once.

A NATS server greets whoever connects with a line that begins with INFO, before TLS, too. One that
is frozen accepts the connection and does not greet.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PORT = 4222
_GREETING = b"INFO "
# Seconds that servers get to speak before one that has failed lately is chosen.
_GRACE = 0.1


async def first_to_speak(
    servers: Sequence[str], failures: Mapping[str, int], timeout: float
) -> str:
    """The URL of the server that speaks first, of those that have failed least often.

    Raises OSError, where none speaks within `timeout` seconds, and ValueError for a URL of none.
    """
    tasks = {asyncio.ensure_future(_speaks(server, timeout)): server for server in servers}
    try:
        return await _first(tasks, failures)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _first(tasks: dict[asyncio.Task[None], str], failures: Mapping[str, int]) -> str:
    best: str | None = None
    problem: BaseException | None = None
    waiting = set(tasks)
    while waiting:
        grace = None if best is None else _GRACE
        done, waiting = await asyncio.wait(
            waiting, timeout=grace, return_when=asyncio.FIRST_COMPLETED
        )
        if not done:
            break
        for task in done:
            if task.exception() is not None:
                problem = problem or task.exception()
            elif best is None or failures.get(tasks[task], 0) < failures.get(best, 0):
                best = tasks[task]
        if best is not None and not failures.get(best):
            break
    if best is not None:
        return best
    if isinstance(problem, (OSError, ValueError)):
        raise problem
    raise ConnectionError("no server is named")


async def _speaks(server: str, timeout: float) -> None:
    """Return once a server has spoken. Raises OSError, ValueError."""
    place = urlsplit(server if "://" in server else f"nats://{server}")
    if not place.hostname:
        raise ValueError(server)
    try:
        await asyncio.wait_for(_greeting(place.hostname, place.port or PORT), timeout)
    except asyncio.TimeoutError as problem:
        raise ConnectionError("it does not speak") from problem


async def _greeting(host: str, port: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        if await reader.readexactly(len(_GREETING)) != _GREETING:
            raise ConnectionError("it does not speak NATS")
    except asyncio.IncompleteReadError as problem:
        raise ConnectionError("it hangs up") from problem
    finally:
        writer.transport.abort()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
