"""A turn whose answer was seen is on the other host, whatever was killed at whatever instant."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from tests.support.real_claude import STREAM_JSON, TIMEOUT, kill

if TYPE_CHECKING:
    from tests.support.fleet import Host
    from tests.support.messages_api import MessagesApi

    Hosts = tuple[Host, Host]

INSTANTS, FEW = 200, 6


@pytest.mark.usefixtures("short_life")
def test_every_turn_that_was_answered_is_on_the_other_host_after_any_kills(
    hosts: Hosts, api: MessagesApi, long: bool
) -> None:
    chance = random.Random(20)
    duration = turn_takes(hosts[0])
    seen = ["hello"]
    for n in range(INSTANTS if long else FEW):
        prompt, host = f"turn number {n:03}", hosts[n % 2]
        say = chance.choice([one_shot, streaming])
        answer = say(host, prompt, chance.uniform(0, 1.2 * duration), chance)
        if answer is not None:
            said, _, before = answer.partition(" | before: ")
            assert said == f"heard: {prompt}"
            assert [turn for turn in before.split(" ; ") if turn in seen] == seen
            seen.append(prompt)

    assert len(seen) > 1, "no turn was answered"
    for host in hosts:
        host.run("-p", "what was said?", room="r")
        turns = api.turns()[-1].user_turns
        assert [turn for turn in turns if turn in seen] == seen


def turn_takes(host: Host) -> float:
    """Seconds from a call to its end."""
    started = time.monotonic()
    host.ask("hello", room="r")
    return time.monotonic() - started


def one_shot(host: Host, prompt: str, instant: float, chance: random.Random) -> str | None:
    """What the caller has read whole, something having been killed at some instant."""
    process = host.start("-p", prompt, room="r")
    printed = killed_by_chance(host, process, None, instant, chance)
    return printed.removesuffix("\n") if printed.endswith("\n") else None


def streaming(host: Host, prompt: str, instant: float, chance: random.Random) -> str | None:
    """The same of a `result` line."""
    process = host.start(*STREAM_JSON, room="r", stdin=subprocess.PIPE)
    content = [{"type": "text", "text": prompt}]
    line = json.dumps({"type": "user", "message": {"role": "user", "content": content}})
    printed = killed_by_chance(host, process, line + "\n", instant, chance)
    results = [
        json.loads(line)
        for line in printed.splitlines(keepends=True)
        if line.startswith('{"type":"result"') and line.endswith("\n")
    ]
    return str(results[0]["result"]) if results else None


def killed_by_chance(
    host: Host,
    process: subprocess.Popen[str],
    said: str | None,
    instant: float,
    chance: random.Random,
) -> str:
    """What a call has printed before it, or the sync daemon, or both were killed at an instant.

    Nothing of one that says that it goes on alone: its turn comes to the fleet later.
    """
    try:
        return process.communicate(said, timeout=instant)[0]
    except subprocess.TimeoutExpired:
        victims = chance.choice(["claude", "courier", "both"])
    if victims != "claude" and (daemon := host.daemon):
        os.kill(daemon, signal.SIGKILL)
    if victims != "courier":
        os.killpg(process.pid, signal.SIGKILL)
    try:
        printed, complaint = process.communicate(timeout=TIMEOUT)
        return "" if "running without the fleet" in complaint else printed
    finally:
        kill(process)
