"""One room, one conversation: what was said beside it comes back, to the head and to the forks."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.messages_api import Reply
from tests.support.real_claude import knows, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import Stream, World

ALLOWED = "--dangerously-skip-permissions"
FORKS = "runs in a fork of its conversation, and both will know each other's turns"


def beside(world: World, prompt: str, room: str = "r", **env: str) -> list[str]:
    """What a call knows that is answered in a fork."""
    done = world.run("-p", prompt, room=room, env=env)
    assert done.returncode == 0, done
    assert FORKS in done.stderr, done
    assert done.stderr.count("\n") == 1
    return knows(done.stdout)


def written(world: World, text: str) -> None:
    """Wait until claude has written this into a transcript."""
    paths = (world.home / ".claude" / "projects").glob
    wait_until(lambda: any(text in path.read_text() for path in paths("*/*.jsonl")), text)


def say(world: World, stream: Stream, prompt: str) -> list[str]:
    """What a stream knows; its turn is in the transcript afterwards."""
    answer = stream.ask(prompt)
    written(world, f"heard: {prompt}")
    return knows(answer)


def forks(world: World) -> set[str]:
    return {path.name for path in (world.store / "forks").iterdir()}


def test_bots_beside_a_stream_have_one_fork_and_all_comes_back(any_claude: World) -> None:
    world = any_claude
    stream = world.stream(room="r")
    say(world, stream, "one")
    head = world.mapping("r")

    assert beside(world, "bot 1") == ["one"]
    assert say(world, stream, "two") == ["one"]
    assert beside(world, "bot 2") == ["one", "bot 1", "two"]
    assert len(forks(world)) == 1
    assert world.mapping("r") == head
    assert stream.close() == 0

    assert knows(world.ask("three", room="r")) == ["one", "two", "bot 1", "bot 2"]
    assert world.mapping("r") == head
    assert knows(world.ask("four", room="r")) == ["one", "two", "bot 1", "bot 2", "three"]


def test_a_fork_that_is_in_use_is_not_resumed_by_another(world: World) -> None:
    stream = world.stream(room="r")
    say(world, stream, "one")
    other = world.stream(room="r")
    assert say(world, other, "two") == ["one"]
    assert beside(world, "three") == ["one", "two"]
    assert len(forks(world)) == 2
    assert stream.close() == 0
    assert other.close() == 0
    assert knows(world.ask("four", room="r")) == ["one", "two", "three"]


def test_nothing_is_looked_for_once_all_has_come_back(world: World) -> None:
    stream = world.stream(room="r")
    say(world, stream, "one")
    beside(world, "bot")
    assert (world.store / "forked" / (world.mapping("r") or "")).exists()
    assert stream.close() == 0
    world.ask("two", room="r")
    assert not (world.store / "forked" / (world.mapping("r") or "")).exists()


def test_a_turn_that_claude_makes_by_itself_moves_nothing(
    any_claude: World, api: MessagesApi, tmp_path: Path
) -> None:
    world, go = any_claude, tmp_path / "go"
    wait = f"until [ -e {go} ]; do sleep 0.1; done"
    run = {"command": wait, "description": "wait", "run_in_background": True}
    api.on("start it", Reply(tool=("Bash", run), after="started"))
    stream = world.stream(ALLOWED, room="r")
    assert stream.ask("start it") == "started"

    impatient = {"NSED_BUSY_TIMEOUT": "0.2"}
    beside(world, "bot 1", **impatient)
    go.touch()
    stream.next_result()  # what claude says of its task's end
    head = world.mapping("r")
    assert "bot 1" in beside(world, "bot 2", **impatient)
    assert stream.close() == 0
    assert world.mapping("r") == head
    assert {"bot 1", "bot 2"} <= set(knows(world.run("-p", "last", room="r").stdout))


def test_a_background_task_is_waited_for(
    any_claude: World, api: MessagesApi, tmp_path: Path
) -> None:
    world, go = any_claude, tmp_path / "go"
    wait = f"until [ -e {go} ]; do sleep 0.1; done"
    run = {"command": wait, "description": "wait", "run_in_background": True}
    api.on("start it", Reply(tool=("Bash", run), after="started"))
    stream = world.stream(ALLOWED, room="r")
    assert stream.ask("start it") == "started"
    call = world.start("-p", "beside", room="r")
    marker = world.store / "tasks" / (world.mapping("r") or "")
    wait_until(marker.exists, "the hook notes that a task runs on")
    answered = len(api.turns())
    wait_until(lambda: call.poll() is None, "the call waits")
    assert len(api.turns()) == answered

    go.touch()
    stream.next_result()
    stdout, stderr = call.communicate()

    assert stdout.startswith("heard: beside | before: start it")
    assert "<task-notification>" in json.dumps(api.turns()[-1].body["messages"])
    assert FORKS in stderr
    assert not marker.exists()
    assert stream.close() == 0


def test_after_clear_what_live_forks_say_later_comes_back(any_claude: World) -> None:
    world = any_claude
    stream = world.stream(room="r")
    say(world, stream, "one")
    other = world.stream(room="r")
    say(world, other, "two")
    stream.send("/clear")
    stream.next_result()
    assert say(world, stream, "three") == []
    assert say(world, other, "four") == ["one", "two"]
    assert stream.close() == 0
    assert other.close() == 0
    assert knows(world.ask("five", room="r")) == ["three", "four"]


def test_a_fork_that_is_cleared_begins_another_fork(any_claude: World) -> None:
    world = any_claude
    stream = world.stream(room="r")
    say(world, stream, "one")
    head = world.mapping("r")
    other = world.stream(room="r")
    say(world, other, "two")
    other.send("/clear")
    other.next_result()
    assert say(world, other, "three") == []
    assert world.mapping("r") == head
    assert stream.close() == 0
    assert other.close() == 0
    assert knows(world.ask("four", room="r")) == ["one", "two", "three"]


@pytest.mark.parametrize("how", ["fork", ""])
def test_beside_a_first_turn_that_is_not_answered_yet_all_comes_back(
    world: World, api: MessagesApi, how: str
) -> None:
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    stream = world.stream(room="r")
    stream.send("take your time")
    api.wait_for(lambda api: bool(api.turns()))
    env = {"NSED_ON_BUSY": how, "NSED_BUSY_TIMEOUT": "0.2"}
    assert beside(world, "one", **env) == []
    assert beside(world, "two", **env) == ["one"]
    stream.kill()
    over.set()
    assert [it for it in knows(world.ask("three", room="r")) if it != "take your time"] == [
        "one",
        "two",
    ]
