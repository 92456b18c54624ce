"""Who is let into a fleet: by a file of credentials, over TLS, with the smallest permissions."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from shim.cli.pages import FOLDER
from tests.real.test_commands import claude_shim
from tests.support.certificates import Authority
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


def test_two_nats_accounts_are_two_fleets(place: Place) -> None:
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


def test_both_sides_show_a_certificate(place: Place) -> None:
    ours, others = (Authority(place.root / name) for name in ("ours", "others"))
    certificate, key = ours.issue("server")
    files = f'cert_file: "{certificate}", key_file: "{key}", ca_file: "{ours.path}"'
    trusts = {"NSED_FLEET_CA": str(ours.path)}
    with place.server(f"tls {{ {files}, verify: true }}") as server:
        url = server.url.replace("nats://", "tls://")
        hosts = [place.host(name, url) for name in "abcd"]
        with hosts[0] as a, hosts[1] as b, hosts[2] as c, hosts[3] as d:
            for host, said, before in ((a, "one", ""), (b, "two", " | before: one")):
                env = trusts | {"NSED_FLEET_CERT": str(ours.of_host(said))}
                assert host.ask(said, room="r", env=env) == f"heard: {said}{before}"

            bare = c.run("-p", "three", room="r", env=trusts)
            strange = trusts | {"NSED_FLEET_CERT": str(others.of_host("stranger"))}
            stranger = d.run("-p", "four", room="r", env=strange)

    assert (bare.stdout, stranger.stdout) == ("heard: three\n", "heard: four\n")
    assert "NSED_FLEET_CERT has to name one" in bare.stderr
    assert re.search("no NATS server answers|there is no TLS", stranger.stderr)


def test_a_certificate_without_its_key_is_said_so(place: Place) -> None:
    certificate, _ = Authority(place.root / "ours").issue("host")
    with place.host("a", "tls://127.0.0.1:1") as a:
        said = a.run("-p", "one", room="r", env={"NSED_FLEET_CERT": str(certificate)})

    assert said.stdout == "heard: one\n"
    assert "which NSED_FLEET_CERT names, has no certificate with its key" in said.stderr


def permissions() -> str:
    """What the page `fleet` says that a user needs."""
    (block,) = re.findall(
        r"```text\n(permissions \{.*?)```", (FOLDER / "fleet.md").read_text(), re.S
    )
    return str(block)


@pytest.mark.parametrize("is_made", [False, True], ids=["first use", "made beforehand"])
def test_hosts_need_no_more_than_the_page_says(place: Place, is_made: bool) -> None:
    def users(allowed: str) -> str:
        user = f'{{ user: host, password: "x", {allowed} }}'
        makes = '{ user: maker, password: "x" }'
        return f"accounts {{ FLEET: {{ jetstream: enabled, users: [{user}, {makes}] }} }}"

    allowed = permissions()
    if is_made:
        allowed = re.sub(r'"\$JS.API.STREAM.CREATE.*?"\n', "", allowed)
    with place.server(users(allowed)) as server:
        url = server.url.replace("//", "//host:x@")
        with place.host("maker", server.url.replace("//", "//maker:x@")) as maker:
            if is_made:
                assert maker.ask("made", room="other") == "heard: made"
        with place.host("a", url) as a, place.host("b", url) as b:
            assert a.ask("one", room="r") == "heard: one"
            assert b.ask("two", room="r") == "heard: two | before: one"
            a.wait_until_given_back()
            b.wait_until_given_back()
            status = claude_shim(b, "fleet", "status")
            listed = claude_shim(b, "list")
            claude_shim(b, "delete", "r", "--yes")
            assert a.ask("three", room="r") == "heard: three"
            complaints = a.log() + b.log()

    assert "reached" in status
    assert re.search(r"^r\b", listed, re.M)
    assert complaints == ""
    assert "Permissions Violation" not in server.log
