"""Three real nats-servers as the page `fleet` configures them, on loopback."""

from __future__ import annotations

import json
import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

from shim.cli.pages import FOLDER
from tests.support.nats import NatsServer, free_port

if TYPE_CHECKING:
    from pathlib import Path

NAMES = ("one", "two", "three")
"""What the page calls each of them: `server_name`."""


def configuration() -> str:
    """What the page says of each, apart from where it listens and keeps its data."""
    page = (FOLDER / "fleet.md").read_text("utf-8")
    (block,) = re.findall(r"```text\n(server_name: .*?)```", page, re.DOTALL)
    return re.sub(r"(?m)^(listen|jetstream).*\n", "", block)


class Cluster:
    """The three from `with` to its end. `directory` is empty."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in NAMES]
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in ports)
        self.servers = []
        for name, port in zip(NAMES, ports, strict=True):
            (directory / name).mkdir()
            more = configuration().replace("server_name: one", f"server_name: {name}")
            more = re.sub("listen: .*", f"listen: {json.dumps(f'127.0.0.1:{port}')}", more)
            more = re.sub(r"routes: \[.*\]", f"routes: [{routes}]", more)
            self.servers.append(NatsServer(directory / name, more))
        self._stack = ExitStack()

    def __enter__(self) -> Cluster:
        for server in self.servers:
            self._stack.enter_context(server)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """What the hosts are told, with the page's user and password."""
        ((user, secret),) = re.findall(r'user: (\w+), password: "(.*?)"', configuration())
        return ",".join(it.url.replace("//", f"//{user}:{secret}@") for it in self.servers)
