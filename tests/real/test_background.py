"""A conversation that claude's own background service holds."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.support.real_claude import TIMEOUT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World


@pytest.fixture
def background(world: World) -> Iterator[World]:
    """A world whose background service is ended with it: it outlives everything else."""
    yield world
    for process in psutil.process_iter():
        try:
            is_its = process.environ().get("HOME") == str(world.home)
        except psutil.Error:
            continue
        if is_its:
            process.kill()


def registered(world: World) -> list[dict[str, object]]:
    entries = (world.home / ".claude" / "sessions").glob("*.json")
    return [
        entry for path in entries if (entry := json.loads(path.read_text())).get("kind") == "bg"
    ]


def test_it_counts_as_a_live_claudes_and_calls_go_on_with_a_copy(
    background: World, api: MessagesApi
) -> None:
    world = background
    world.ask("hello", room="r")
    session_id = world.mapping("r")
    assert session_id
    started = world.run("--bg", "--resume", session_id, "in the background", room="r")
    assert started.returncode == 0, started
    api.wait_for(lambda api: any("in the background" in turn.prompt for turn in api.turns()))
    wait_until(
        lambda: any(
            (entry.get("sessionId"), entry.get("status")) == (session_id, "idle")
            for entry in registered(world)
        ),
        "the background turn has ended",
    )

    refused = world.run("-p", "by hand", "--resume", session_id)
    done = world.run("-p", "beside", room="r")

    assert refused.returncode == 1
    assert done.stdout == "heard: beside | before: hello ; in the background\n"
    assert "runs in a fork of its conversation" in done.stderr

    ps = [sys.executable, "-m", "shim.commands", "list", "--json"]
    link = [sys.executable, "-m", "shim.commands", "link", "r", "claude", session_id, "--yes"]
    for command in (link, ps):
        listed = subprocess.run(
            command, env=world.environment(), capture_output=True, text=True, timeout=TIMEOUT
        )
        assert listed.returncode == 0, listed
    assert world.run("-p", "x", room="r", env={"NSED_ON_BUSY": "fail"}).returncode == 75
    (room,) = json.loads(listed.stdout)
    assert [claude["kind"] for claude in room["claudes"]] == ["background"]
