"""Who is let into a fleet: by a file of credentials, over TLS."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Host
from tests.support.nats import NatsServer
from tests.support.nats_accounts import Accounts

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi


class Place:
    """Where hosts of a fleet are made, and its server."""

    def __init__(self, root: Path, api_url: str, launcher: Path) -> None:
        self.root = root
        self._api_url, self._launcher = api_url, launcher

    def host(self, name: str, url: str) -> Host:
        return Host(self.root / name, self._api_url, self._launcher, url)

    def server(self, more: str) -> NatsServer:
        (self.root / "nats").mkdir()
        return NatsServer(self.root / "nats", more)


@pytest.fixture
def place(tmp_path: Path, api: MessagesApi, launcher_path: Path) -> Place:
    return Place(tmp_path, api.url, launcher_path)


def test_two_accounts_are_two_fleets(place: Place) -> None:
    accounts = Accounts("mine", "theirs")
    mine, theirs = (
        {"NSED_FLEET_CREDS": str(accounts.write(name, place.root / f"{name}.creds"))}
        for name in ("mine", "theirs")
    )
    with (
        place.server(accounts.configuration) as server,
        place.host("a", server.url) as a,
        place.host("b", server.url) as b,
        place.host("c", server.url) as c,
    ):
        assert a.ask("one", room="r", env=mine) == "heard: one"

        assert b.ask("two", room="r", env=mine) == "heard: two | before: one"
        assert c.ask("three", room="r", env=theirs) == "heard: three"


def test_a_fleet_over_tls(place: Place) -> None:
    certificate, key = place.root / "cert.pem", place.root / "key.pem"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    make += ["-nodes", "-days", "2", "-subj", "/CN=fleet", "-addext"]
    make += ["subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    files = f"cert_file: {json.dumps(str(certificate))}, key_file: {json.dumps(str(key))}"
    trusts = {"SSL_CERT_FILE": str(certificate)}
    with place.server(f"tls {{ {files} }}") as server:
        url = server.url.replace("nats://", "tls://")
        with place.host("a", url) as a, place.host("b", url) as b, place.host("c", url) as c:
            assert a.ask("one", room="r", env=trusts) == "heard: one"
            assert b.ask("two", room="r", env=trusts) == "heard: two | before: one"

            distrusts = c.run("-p", "three", room="r")

    assert distrusts.stdout == "heard: three\n"
    assert "there is no TLS with the NATS server at 127.0.0.1" in distrusts.stderr
    assert "self-signed certificate" in distrusts.stderr
