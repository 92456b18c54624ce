"""A room goes on on another host, with every turn whose answer was seen."""

from __future__ import annotations

import json
import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.fleet import Host
from tests.support.messages_api import Reply
from tests.support.real_claude import TIMEOUT, VERSIONS, knows, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.nats import NatsServer

    Hosts = tuple[Host, Host]

ALLOWED = "--dangerously-skip-permissions"


@pytest.fixture(params=VERSIONS)
def any_hosts(
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


def one_shot(host: Host, prompt: str) -> str:
    return host.ask(prompt, room="r")


def in_json(host: Host, prompt: str) -> str:
    return str(json.loads(host.ask(prompt, "--output-format", "json", room="r"))["result"])


def streaming(host: Host, prompt: str) -> str:
    stream = host.stream(room="r")
    answer = stream.ask(prompt)
    assert (stream.close(), stream.stderr) == (0, "")
    return answer


def interactive(host: Host, prompt: str) -> str:
    terminal = host.terminal(room="r")
    terminal.say(prompt)
    terminal.wait_for(f"heard: {prompt}")
    assert terminal.exit() == 0
    return f"heard: {prompt}"


def test_a_room_of_a_directory_with_a_long_path_is_resumed_on_another_host(hosts: Hosts) -> None:
    a, b = hosts
    for host, prompt in ((a, "one"), (b, "two")):
        long = host.directory(host.work / ("long" * 40) / ("long" * 10))
        host.ask(prompt, room="r", cwd=long)

    assert a.ask("three", room="r") == "heard: three | before: one ; two"


@pytest.mark.parametrize("on_b", [one_shot, in_json, streaming, interactive])
def test_a_room_is_resumed_on_another_host_and_back(
    any_hosts: Hosts, api: MessagesApi, on_b: Callable[[Host, str], str]
) -> None:
    a, b = any_hosts
    a.ask("one", room="r")

    on_b(b, "two")

    assert a.ask("three", room="r") == "heard: three | before: one ; two"
    assert api.turns()[-1].history[:4] == [
        *(("user", "one"), ("assistant", "heard: one")),
        *(("user", "two"), ("assistant", "heard: two | before: one")),
    ]
    assert a.mapping("r") == b.mapping("r")


def test_what_a_tool_said_at_length_can_be_read_on_the_other_host(
    any_hosts: Hosts, api: MessagesApi
) -> None:
    a, b = any_hosts
    long = {"command": "seq 1 20000", "description": "print"}
    api.on("print", Reply(tool=("Bash", long)))
    a.ask("print", ALLOWED, room="r")
    (there,) = a.home.glob(".claude/projects/*/*/tool-results/*")
    assert str(there) in str(api.turns()[-1].history)
    api.on("read it", Reply(tool=("Read", {"file_path": str(there), "limit": 3, "offset": 15000})))
    said = there.read_bytes()
    there.rename(there.with_name("not any more"))

    b.ask("read it", ALLOWED, room="r")

    (here,) = b.home.glob(".claude/projects/*/*/tool-results/*.txt")
    assert here.read_bytes() == said
    assert "15001" in api.turns()[-1].history[-1][1]


def test_what_a_subagent_said_is_there_on_the_other_host(
    any_hosts: Hosts, api: MessagesApi
) -> None:
    a, b = any_hosts
    task = {"description": "sub", "prompt": "a task", "subagent_type": "general-purpose"}
    api.on("delegate", Reply(tool=("Agent", {**task, "run_in_background": False})))
    a.ask("delegate", ALLOWED, room="r")
    (there,) = a.home.glob(".claude/projects/*/*/subagents/agent-*.jsonl")

    b.ask("and now", room="r")

    (here,) = b.home.glob(f".claude/projects/*/*/subagents/{there.name}")
    assert here.read_bytes() == there.read_bytes()


def test_the_head_moves_with_a_clear_on_all_hosts(hosts: Hosts) -> None:
    a, b = hosts
    terminal = a.terminal(room="r")
    terminal.say("before")
    terminal.wait_for("heard: before")
    terminal.say("/clear")
    terminal.say("after")
    terminal.wait_for("heard: after")
    terminal.exit()

    assert b.ask("next", room="r") == "heard: next | before: after"


def test_an_explicit_conversation_is_resumed_on_another_host(hosts: Hosts) -> None:
    a, b = hosts
    a.ask("one", room="r")
    named = a.mapping("r") or ""

    assert b.ask("two", "--resume", named, room="r") == "heard: two | before: one"
    assert a.ask("three", "--session-id", named, room="r") == "heard: three | before: one ; two"


# Who has it.


@pytest.fixture
def held(api: MessagesApi) -> Iterator[threading.Event]:
    """What lets the API answer prompts that contain `take your time`."""
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    yield over
    over.set()


def wait_for_turn(api: MessagesApi, prompt: str) -> None:
    api.wait_for(lambda api: any(prompt in turn.prompt for turn in api.turns()))


def test_many_turns_at_once_from_two_hosts_are_one_line(
    hosts: Hosts, api: MessagesApi, long: bool
) -> None:
    hosts[0].ask("hello", room="r")
    prompts = [f"turn number {n:02}" for n in range(20 if long else 8)]

    running = [hosts[n % 2].start("-p", prompt, room="r") for n, prompt in enumerate(prompts)]
    outcomes = [process.communicate(timeout=TIMEOUT) for process in running]

    assert all("heard: turn number" in answer for answer, _ in outcomes), outcomes
    hosts[0].ask("what was said?", room="r")
    assert sorted(api.turns()[-1].user_turns[1:-1]) == prompts


@pytest.mark.usefixtures("held")
def test_a_call_that_fails_rather_than_waits_names_the_host(hosts: Hosts, api: MessagesApi) -> None:
    a, b = hosts
    a.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")

    done = b.run("-p", "impatient", room="r", env={"NSED_ON_BUSY": "fail"})

    assert (done.returncode, done.stdout) == (75, "")
    hostname = a.status()["hostname"]
    assert done.stderr == (
        f"claude-shim: room 'r', agent 'claude' is in use by a claude on {hostname},"
        " and NSED_ON_BUSY=fail\n"
    )


@pytest.mark.usefixtures("held")
def test_a_fork_beside_another_host_has_all_finished_turns(hosts: Hosts, api: MessagesApi) -> None:
    a, b = hosts
    a.ask("one", room="r")
    a.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")

    done = b.run("-p", "beside", room="r", env={"NSED_ON_BUSY": "fork"})

    assert done.stdout == "heard: beside | before: one\n"
    assert "runs in a fork of its conversation" in done.stderr
    again = b.run("-p", "next", room="r", env={"NSED_ON_BUSY": "fork"})
    assert again.stdout == "heard: next | before: one ; beside\n"


def test_a_call_beside_an_idle_claude_on_another_host_is_answered_by_a_fork(hosts: Hosts) -> None:
    a, b = hosts
    stream = a.stream(room="r")
    stream.ask("one")

    done = b.run("-p", "beside", room="r")

    assert done.stdout == "heard: beside | before: one\n"
    assert "runs in a fork of its conversation" in done.stderr
    assert stream.ask("two") == "heard: two | before: one"


def test_a_killed_claude_on_another_host_does_not_keep_the_room_busy(hosts: Hosts) -> None:
    a, b = hosts
    stream = a.stream(room="r")
    stream.ask("one")
    stream.kill()

    assert b.ask("two", room="r") == "heard: two | before: one"


# When things break.


def test_a_server_that_is_away_costs_a_warning_and_gets_the_turns_later(
    hosts: Hosts, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    nats_server.kill()

    done = a.run("-p", "two", room="r")
    assert done.stdout == "heard: two | before: one\n"
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("claude-shim: running without the fleet: no NATS server")

    nats_server.start()
    a.wait_until_given_back()
    assert b.ask("three", room="r") == "heard: three | before: one ; two"


def test_a_server_that_is_restarted_in_mid_turn_is_not_noticed(
    hosts: Hosts, api: MessagesApi, held: threading.Event, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    running = a.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")

    nats_server.restart()
    wait_until(lambda: a.status()["engine"]["is_reachable"], "the server is back")
    held.set()

    assert running.communicate(timeout=TIMEOUT) == ("heard: take your time | before: one\n", "")
    assert b.ask("two", room="r") == "heard: two | before: one ; take your time"


def test_a_server_that_freezes_in_mid_turn_costs_one_answer_some_seconds(
    hosts: Hosts, api: MessagesApi, held: threading.Event, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    running = a.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")
    nats_server.stop()
    held.set()

    assert running.communicate(timeout=TIMEOUT) == ("heard: take your time | before: one\n", "")
    done = a.run("-p", "two", room="r")
    assert done.stdout == "heard: two | before: one ; take your time\n"
    assert done.stderr.startswith("claude-shim: running without the fleet")

    nats_server.cont()
    wait_until(lambda: a.status().get("behind") == 0, "all is in the fleet")
    assert b.ask("three", room="r") == "heard: three | before: one ; take your time ; two"
    late = a.run("-p", "four", room="r")
    assert late.stdout == "heard: four | before: one ; take your time ; two ; three\n"
    assert late.stderr.startswith("claude-shim: the last turn was seen before other hosts had it:")
    assert a.run("-p", "five", room="r").stderr == ""


def earlier_heads(host: Host) -> list[str]:
    """The conversations that the room had before, by what `claude-shim show` goes by."""
    lines = (host.store / "history.jsonl").read_text().splitlines()
    return [str(json.loads(line)["uuid"]) for line in lines]


def test_what_two_hosts_said_apart_stays_in_two_conversations(
    hosts: Hosts, nats_server: NatsServer
) -> None:
    a, b = hosts
    a.ask("one", room="r")
    b.ask("two", room="r")
    nats_server.kill()
    assert a.run("-p", "apart on a", room="r").stdout == "heard: apart on a | before: one\n"
    assert b.run("-p", "apart on b", room="r").stdout == "heard: apart on b | before: one ; two\n"

    nats_server.start()
    a.wait_until_given_back()
    b.wait_until_given_back()

    on_a = knows(a.ask("again", room="r"))
    assert on_a[:3] == ["one", "two", "apart on b"]
    assert knows(b.ask("more", room="r")) == [*on_a, "again"]
    (fork,) = earlier_heads(a)
    for host in (b, a):
        answer = host.ask("hello", "--resume", fork, room="r")
        assert answer.startswith("heard: hello | before: one ; apart on a"), answer


@pytest.mark.usefixtures("short_life")
def test_a_host_that_was_paused_while_another_took_the_room_goes_on_in_a_fork(
    hosts: Hosts,
) -> None:
    a, b = hosts
    stream = a.stream(room="r")
    stream.ask("one")
    pids = [stream.process.pid, a.daemon or 0]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    b.ask("hello", room="another")
    wait_until(lambda: b.status().get("elsewhere") == [], "the end of a's life")

    assert b.ask("two", room="r") == "heard: two | before: one"
    for pid in pids:
        os.kill(pid, signal.SIGCONT)

    assert stream.ask("on a") == "heard: on a | before: one"
    (conversation,) = a.status()["conversations"]
    assert conversation["is_fenced"]
    on_b = knows(b.ask("three", room="r"))
    assert on_b[:2] == ["one", "two"]
    stream.close()
    a.wait_until_given_back()
    assert [it for it in knows(a.ask("four", room="r")) if it != "on a"] == ["one", "two", "three"]
    assert earlier_heads(a) == [conversation["fork"]]
    answer = b.ask("fork", "--resume", conversation["fork"], room="r")
    assert answer == "heard: fork | before: one ; on a"
