"""What `claude-shim` says and changes on one host of a fleet is what the other one meets."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING

import nats

from shim.fleet.jetstream import STREAM
from tests.real.test_commands import PROGRAM, claude_shim, way_back
from tests.support.real_claude import ROOT, wait_until

if TYPE_CHECKING:
    from tests.support.fleet import Host
    from tests.support.nats import NatsServer

    Hosts = tuple[Host, Host]


def records(server: NatsServer, session_id: str) -> int:
    """How many records the server has of a conversation."""

    async def count() -> int:
        connection = await nats.connect(server.url)
        subject = f"{STREAM}.{session_id}"
        found = await connection.jetstream().stream_info(STREAM, subjects_filter=subject)
        await connection.close()
        return (found.state.subjects or {}).get(subject, 0)

    return asyncio.run(count())


def test_forgotten_on_one_host_is_forgotten_on_the_other(hosts: Hosts) -> None:
    a, b = hosts
    a.ask("one", room="r")
    b.ask("two", room="r")
    wait_until(lambda: not a.status()["elsewhere"], "the end of b's claude is known")

    claude_shim(a, "forget", "r")

    assert b.ask("three", room="r") == "heard: three"
    assert a.ask("four", room="r") == "heard: four | before: three"


def test_what_was_forgotten_on_one_host_is_had_back_on_the_other(hosts: Hosts) -> None:
    a, b = hosts
    a.ask("one", room="r")
    b.ask("two", room="r")
    wait_until(lambda: not a.status()["elsewhere"], "the end of b's claude is known")
    told = claude_shim(a, "forget", "r")
    a.ask("three", room="r")
    wait_until(lambda: not b.status()["elsewhere"], "the end of a's claude is known")

    claude_shim(b, *way_back(told))

    assert a.ask("four", room="r") == "heard: four | before: one ; two"


def test_what_a_host_said_alone_is_gone_on_with_on_the_other(
    hosts: Hosts, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    b.ask("two", room="r")
    b.wait_until_given_back()
    nats_server.kill()
    a.run("-p", "alone on a", room="r")
    b.run("-p", "alone on b", room="r")
    nats_server.start()
    a.wait_until_given_back()
    b.wait_until_given_back()
    (shown,) = json.loads(claude_shim(b, "show", "r", "--json"))
    (fork,) = (each["session_id"] for each in shown["earlier"])
    before = b.ask("which?", room="r")

    claude_shim(b, "link", "r", fork)

    after = b.ask("and now?", room="r")
    alone = ("alone on a", "alone on b")
    heard = [said for answer in (before, after) for said in alone if said in answer]
    assert sorted(set(heard)) == list(alone)


def test_what_is_deleted_is_on_no_server_and_resumed_on_no_host(
    hosts: Hosts, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("secret", room="r")
    b.ask("two", room="r")
    session_id = a.mapping("r") or ""
    assert records(nats_server, session_id)
    b.wait_until_given_back()

    claude_shim(a, "delete", "r", "--yes")

    assert records(nats_server, session_id) == 0
    assert a.transcripts(session_id) == []
    assert b.ask("three", room="r") == "heard: three"


def test_each_host_lists_the_rooms_of_the_other(hosts: Hosts) -> None:
    a, b = hosts
    a.ask("one", room="r")
    a.wait_until_given_back()

    (listed,) = json.loads(claude_shim(b, "list", "--json"))
    shown = claude_shim(b, "show", "r")

    assert (listed["room"], listed["session_id"]) == ("r", a.mapping("r"))
    assert listed["host"] == a.status()["hostname"]
    assert "on another host: the next call fetches it" in shown


def test_ps_shows_the_claude_of_the_other_host(hosts: Hosts) -> None:
    a, b = hosts
    with_a = a.stream(room="r")
    with_a.ask("one")

    (running,) = json.loads(claude_shim(b, "ps", "--json"))

    assert (running["room"], running["kind"]) == ("r", "streaming")
    assert running["pid"] == with_a.process.pid
    with_a.close()


def test_doctor_finds_all_well(hosts: Hosts) -> None:
    a, _ = hosts
    a.ask("one", room="r")
    a.wait_until_given_back()

    done = a.run(
        *("-c", PROGRAM, "doctor", "--json"), program=sys.executable, env={"PYTHONPATH": str(ROOT)}
    )
    found = [it for it in json.loads(done.stdout) if it["check"] == "fleet"]

    assert [it["status"] for it in found] == ["ok", "ok", "ok"]
    assert "nats-server 2." in found[0]["found"]


def test_fleet_status_knows_both_sides(hosts: Hosts) -> None:
    a, b = hosts
    with_a = a.stream(room="r")
    with_a.ask("one")
    # What claude writes behind a turn's answer follows.
    wait_until(lambda: a.status()["behind"] == 0, "all is sent")

    here = json.loads(claude_shim(a, "fleet", "status", "--json"))
    there = json.loads(claude_shim(b, "fleet", "status", "--json"))

    assert [(it["room"], it["behind"]) for it in here["here"]] == [("r", 0)]
    assert [(it["room"], it["pid"]) for it in there["elsewhere"]] == [("r", with_a.process.pid)]
    with_a.close()
