"""A room goes on on another host, with every turn whose answer was seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Host
from tests.support.real_claude import VERSIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.nats import NatsServer

    Hosts = tuple[Host, Host]


@pytest.fixture(params=VERSIONS)
def hosts(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    api: MessagesApi,
    launcher_path: Path,
    nats_server: NatsServer,
) -> Iterator[Hosts]:
    where = (api.url, launcher_path, nats_server.url, request.param)
    with Host(tmp_path / "a", *where) as a, Host(tmp_path / "b", *where) as b:
        yield a, b
        assert a.log() + b.log() == ""


def test_a_room_goes_on_on_another_host_and_back(hosts: Hosts) -> None:
    a, b = hosts
    assert a.ask("one", room="r") == "heard: one"
    assert b.ask("two", room="r") == "heard: two | before: one"
    assert a.ask("three", room="r") == "heard: three | before: one ; two"
