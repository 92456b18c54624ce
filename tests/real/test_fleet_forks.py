"""One room on several hosts: what was said apart comes back to all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.real_claude import knows

if TYPE_CHECKING:
    from tests.support.fleet import Host
    from tests.support.nats import NatsServer

    Hosts = tuple[Host, Host]


def test_what_both_hosts_said_while_cut_off_is_in_the_room_on_both(
    hosts: Hosts, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    b.ask("two", room="r")
    b.wait_until_given_back()
    nats_server.kill()
    for host, prompt in ((a, "alone on a"), (b, "alone on b")):
        assert "running without the fleet" in host.run("-p", prompt, room="r").stderr
    nats_server.start()
    a.wait_until_given_back()
    b.wait_until_given_back()

    on_b = knows(b.ask("three", room="r"))
    on_a = knows(a.ask("four", room="r"))

    assert sorted(on_b) == ["alone on a", "alone on b", "one", "two"]
    assert on_a == [*on_b, "three"]


def test_a_bot_beside_a_stream_of_another_host_has_its_turns_and_the_other_way_round(
    hosts: Hosts,
) -> None:
    a, b = hosts
    stream = a.stream(room="r")
    assert knows(stream.ask("one")) == []

    beside = b.run("-p", "two", room="r")

    assert "runs in a fork of its conversation" in beside.stderr
    assert knows(beside.stdout) == ["one"]
    assert stream.close() == 0
    a.wait_until_given_back()
    b.wait_until_given_back()
    assert knows(a.ask("three", room="r")) == ["one", "two"]
    assert knows(b.ask("four", room="r")) == ["one", "two", "three"]
