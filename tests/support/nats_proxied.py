"""Three real nats-servers that are one cluster, each route between two of them through a proxy.

A route is cut by the proxy: so a partition needs neither namespaces nor rights.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import urllib.request
from typing import TYPE_CHECKING

from tests.support.nats import NatsServer, free_port
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Any

SERVERS = 3
_PATIENCE = 120.0
# The address that servers tell each other leads nowhere: else they would go around the proxies.
_CONFIGURATION = """
server_name: "s{number}"
http: "127.0.0.1:{monitoring}"
cluster {{
  name: tested
  listen: "127.0.0.1:{cluster}"
  advertise: "127.0.0.1:1"
  no_advertise: true
  routes: [{routes}]
}}
{more}
"""

Route = tuple[int, int]


class ProxiedCluster:
    """A cluster from `with` to its end. Servers are named by their numbers.

    `begins_with` of them are there from the start.
    """

    def __init__(self, directory: Path, more: str = "", begins_with: int = SERVERS) -> None:
        self._begins_with = begins_with
        self.proxies = Proxies()
        clusters = [free_port() for _ in range(SERVERS)]
        self._monitoring = [free_port() for _ in range(SERVERS)]
        self.servers = []
        for number in range(SERVERS):
            others = [other for other in range(SERVERS) if other != number]
            routes = [
                f'"nats-route://127.0.0.1:{self.proxies.add((number, other), clusters[other])}"'
                for other in others
            ]
            configuration = _CONFIGURATION.format(
                number=number,
                monitoring=self._monitoring[number],
                cluster=clusters[number],
                routes=", ".join(routes),
                more=more,
            )
            own = directory / f"s{number}"
            own.mkdir()
            self.servers.append(NatsServer(own, configuration))

    def __enter__(self) -> ProxiedCluster:
        for server in self.servers[: self._begins_with]:
            server.start()
        if self._begins_with == SERVERS:
            self.wait_until_whole()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for server in self.servers:
            server.kill()
        self.proxies.close()

    @property
    def url(self) -> str:
        """All servers, as NSED_FLEET_URL has them."""
        return ",".join(server.url for server in self.servers)

    def wait_until_whole(self) -> None:
        """Wait until every server is up to date with the others."""
        wait_until(lambda: all(map(self._is_well, range(SERVERS))), "a whole cluster", _PATIENCE)

    def leader(self, stream: str) -> int | None:
        """The server that leads a stream, as far as one that answers knows."""
        for number in range(SERVERS):
            told = self._told(number, "jsz?streams=true") or {}
            for account in told.get("account_details", ()):
                for each in account.get("stream_detail", ()):
                    leader = each.get("cluster", {}).get("leader")
                    if each["name"] == stream and leader:
                        return int(leader.removeprefix("s"))
        return None

    def isolate(self, number: int) -> None:
        """Cut a server off from both others; hosts still reach it."""
        for other in range(SERVERS):
            self.proxies.cut({(number, other), (other, number)})

    def heal(self) -> None:
        """Let every route be again."""
        self.proxies.heal()

    def _is_well(self, number: int) -> bool:
        told = self._told(number, "healthz")
        return told is not None and told.get("status") == "ok"

    def _told(self, number: int, what: str) -> dict[str, Any] | None:
        url = f"http://127.0.0.1:{self._monitoring[number]}/{what}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                told: dict[str, Any] = json.load(answer)
                return told
        except (OSError, ValueError):
            return None


class Proxies:
    """Routes from one server to another, each through a port of its own, in a thread of their own.

    A route that is cut loses its connections, and gets no new ones.
    """

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._cut: set[Route] = set()
        self._open: dict[Route, set[asyncio.StreamWriter]] = {}
        self._listening: list[asyncio.Server] = []

    def add(self, route: Route, target: int) -> int:
        """Have a port that leads to another one."""
        port: int = self._run(self._listen(route, target))
        return port

    def cut(self, routes: set[Route]) -> None:
        """Cut routes."""
        self._run(self._close(routes))

    def heal(self) -> None:
        """Let all routes be."""
        self._run(self._clear())

    def close(self) -> None:
        """End them all."""
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE)

    async def _listen(self, route: Route, target: int) -> int:
        async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            # Cancelled at the end, it ends as any other: asyncio would print a complaint.
            with self._opened(route, writer), contextlib.suppress(OSError, asyncio.CancelledError):
                if route in self._cut:
                    return
                its_reader, its_writer = await asyncio.open_connection("127.0.0.1", target)
                with self._opened(route, its_writer):
                    await asyncio.wait(
                        [
                            asyncio.ensure_future(_pump(reader, its_writer)),
                            asyncio.ensure_future(_pump(its_reader, writer)),
                        ],
                        return_when=asyncio.FIRST_COMPLETED,
                    )

        server = await asyncio.start_server(pass_on, "127.0.0.1", 0)
        self._listening.append(server)
        return int(server.sockets[0].getsockname()[1])

    @contextlib.contextmanager
    def _opened(self, route: Route, writer: asyncio.StreamWriter) -> Iterator[None]:
        writers = self._open.setdefault(route, set())
        writers.add(writer)
        try:
            yield
        finally:
            writers.discard(writer)
            writer.transport.abort()

    async def _close(self, routes: set[Route]) -> None:
        self._cut |= routes
        for route in routes:
            for writer in self._open.get(route, ()):
                writer.transport.abort()

    async def _clear(self) -> None:
        self._cut.clear()

    async def _end(self) -> None:
        for server in self._listening:
            server.close()
        await self._close(set(self._open))
        ours = asyncio.current_task()
        back_off = [task for task in asyncio.all_tasks() if task is not ours]
        for task in back_off:
            task.cancel()
        await asyncio.gather(*back_off, return_exceptions=True)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
