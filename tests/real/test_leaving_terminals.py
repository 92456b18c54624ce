"""← at a terminal leaves the session to the background: the room
resumes it, and no other room does."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support.messages_api import Reply
from tests.support.real_claude import ENTER, ESCAPE, LEFT, TIMEOUT, knows, shows_list, wait_until

if TYPE_CHECKING:
    from tests.support.messages_api import MessagesApi, Request
    from tests.support.real_claude import Screen, World


@pytest.fixture
def world(any_claude: World, api: MessagesApi) -> World:
    # A worker of 2.1.197 is not given the address otherwise.
    settings = any_claude.home / ".claude" / "settings.json"
    settings.parent.mkdir()
    bash = {"permissions": {"allow": ["Bash"]}}
    settings.write_text(json.dumps({"env": {"ANTHROPIC_BASE_URL": api.url}, **bash}))
    return any_claude


def asked(api: MessagesApi) -> list[Request]:
    """What claude asked the model about the turn that takes its time."""
    return [turn for turn in api.turns() if turn.prompt == "take your time"]


def workers(world: World) -> list[str]:
    """The conversations of workers that resume what was left at a terminal."""
    left = {job["sessionId"] for job in world.jobs() if job.get("template") == "bg"}
    return [
        entry["sessionId"]
        for entry in world.registered()
        if entry.get("status") == "idle" and entry["sessionId"] in left
    ]


def ask(world: World, screen: Screen, text: str) -> None:
    """Say something, and wait for the answer on the screen and on disk."""
    screen.ask(text)
    transcripts = (world.home / ".claude" / "projects").glob
    wait_until(
        lambda: any(f"heard: {text}" in path.read_text() for path in transcripts("*/*.jsonl")),
        f"the answer to {text!r} on disk",
    )


def leave(world: World, screen: Screen) -> None:
    """Leave a session at its empty prompt, and wait until its worker is there.

    On 2.1.197 beside other load claude's own job has failed once ("source session … not found",
    though the transcript was there): the session is left all the same, without a worker.
    """
    before, failed = len(workers(world)), failures(world)
    show_list(screen)
    screen.wait_until(
        lambda: len(workers(world)) > before or failures(world) > failed,
        "a worker for the session",
    )


def failures(world: World) -> int:
    """How many jobs claude could not start."""
    return sum(job.get("state") == "failed" for job in world.jobs())


def show_list(screen: Screen) -> None:
    """Leave a session; one whose turn is under way takes more than one ←."""
    screen.press_until(LEFT, lambda: shows_list(screen), "the list of agents")


def come_back(world: World, screen: Screen) -> None:
    """Come back from the list of agents to what was left."""
    is_old = world.version == "2.1.197"
    screen.press(ENTER if is_old else ESCAPE)
    # Newer ones draw no more than what the list has covered.
    marks = ("● heard", "← for agents") if is_old else ("",)
    screen.wait_until(
        lambda: any(mark in screen.text for mark in marks) and not shows_list(screen),
        "the session",
    )


def test_two_rooms_that_leave_their_terminals_stay_two(world: World) -> None:
    a, b = world.screen(room="a"), world.screen(room="b")
    ask(world, a, "one in a")
    ask(world, b, "one in b")
    leave(world, a)
    leave(world, b)
    come_back(world, b)
    b.ask("two in b")
    a.kill()
    b.kill()

    in_a = world.run("-p", "next", room="a").stdout
    in_b = world.run("-p", "next", room="b").stdout

    assert knows(in_a) == ["one in a"]
    assert knows(in_b) == ["one in b", "two in b"]


def test_a_claude_without_a_room_moves_nobodys_head(world: World) -> None:
    a, without = world.screen(room="a"), world.screen()
    ask(world, a, "one in a")
    ask(world, without, "one without")
    leave(world, a)
    leave(world, without)
    come_back(world, without)
    without.ask("two without")
    a.kill()
    without.kill()

    assert knows(world.run("-p", "next", room="a").stdout) == ["one in a"]


def test_a_turn_that_is_answered_in_the_background_is_the_rooms(
    world: World, api: MessagesApi
) -> None:
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    screen = world.screen(room="r")
    screen.ask("one")
    screen.say("take your time")
    api.wait_for(lambda api: bool(asked(api)))
    show_list(screen)
    screen.quit()

    call = world.start("-p", "next", room="r")
    api.wait_for(lambda api: len({turn.session_id for turn in asked(api)}) > 1)
    over.set()
    stdout, stderr = call.communicate(timeout=TIMEOUT)

    assert knows(stdout) == ["one", "take your time"]
    assert "runs in a fork of its conversation" in stderr


def test_what_was_said_after_coming_back_stays_the_head_as_the_terminal_ends(world: World) -> None:
    screen = world.screen(room="r")
    ask(world, screen, "one")
    leave(world, screen)
    come_back(world, screen)
    screen.ask("two")
    head = world.mapping("r")
    show_list(screen)
    screen.quit()
    wait_until(lambda: world.mapping("r") == head, "the head is as it was")

    assert knows(world.run("-p", "next", room="r").stdout) == ["one", "two"]


def test_a_call_from_inside_of_a_worker_is_of_the_workers_room(
    world: World, api: MessagesApi
) -> None:
    command = f"{world.launcher} -p inside </dev/null"
    api.on("call yourself", Reply(tool=("Bash", {"command": command, "description": "x"})))
    a, b = world.screen(room="a"), world.screen("--permission-mode", "default", room="b")
    ask(world, a, "one in a")
    ask(world, b, "one in b")
    leave(world, a)
    leave(world, b)
    come_back(world, b)
    b.say("call yourself")
    b.wait_until(lambda: any(turn.prompt == "inside" for turn in api.turns()), "the call inside")
    a.kill()
    b.kill()

    assert knows(world.run("-p", "next", room="a").stdout) == ["one in a"]
    inside = next(turn for turn in api.turns() if turn.prompt == "inside")
    assert inside.user_turns == ["inside"]


def test_a_task_from_the_list_of_agents_is_no_turn_of_the_room(
    world: World, api: MessagesApi
) -> None:
    screen = world.screen(room="r")
    ask(world, screen, "one")
    leave(world, screen)
    screen.say("another task that is long enough")
    api.wait_for(lambda api: any("another task" in turn.prompt for turn in api.turns()))
    screen.kill()

    assert knows(world.run("-p", "next", room="r").stdout) == ["one"]
