"""One conversation, many calls of every kind: each turn is in the one line of turns."""

from __future__ import annotations

import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from tests.support import real_claude
from tests.support.messages_api import Reply
from tests.support.real_claude import TIMEOUT, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import Stream, World


@pytest.fixture
def held(api: MessagesApi) -> Iterator[threading.Event]:
    """What lets the API answer prompts that contain `take your time`."""
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    yield over
    over.set()


def wait_for_turn(api: MessagesApi, prompt: str) -> None:
    api.wait_for(lambda api: any(prompt in turn.prompt for turn in api.turns()))


def said(world: World, api: MessagesApi, session_id: str) -> list[str]:
    """The user's turns that claude remembers of a conversation, in order."""
    world.run("--resume", session_id, "-p", "what was said?", program=real_claude.binary())
    return api.turns()[-1].user_turns[:-1]


def outcomes(running: list[subprocess.Popen[str]]) -> list[tuple[str, str]]:
    return [process.communicate(timeout=TIMEOUT) for process in running]


def link(world: World, room: str, session_id: str) -> None:
    """Map a second room to a conversation, by the caller's own naming of it."""
    world.ask(f"hello from {room}", "--session-id", session_id, room=room)


def test_calls_that_name_the_conversation_and_calls_of_two_rooms_take_turns(
    world: World, api: MessagesApi, long: bool
) -> None:
    world.ask("hello", room="r")
    session_id = world.mapping("r") or ""
    link(world, "second", session_id)
    named = [
        *(["--resume", session_id], [f"--resume={session_id}"], ["-r", session_id]),
        ["--resume", str(world.transcripts(session_id)[0])],
    ]
    calls = [(f"named {n:02}", "r", named[n % len(named)]) for n in range(12 if long else 4)]
    calls += [(f"ordinary {n}", "r", []) for n in range(4 if long else 2)]
    calls += [(f"second {n}", "second", []) for n in range(4 if long else 2)]

    running = [world.start("-p", prompt, *how, room=room) for prompt, room, how in calls]
    done = outcomes(running)

    assert all("heard: " in stdout and not stderr for stdout, stderr in done), done
    turns = said(world, api, session_id)
    assert sorted(turns[2:]) == sorted(prompt for prompt, *_ in calls)
    assert len(list(world.home.glob(".claude/projects/*/*.jsonl"))) == 1


def test_of_calls_that_begin_one_conversation_at_once_one_begins_it(
    world: World, api: MessagesApi
) -> None:
    session_id = str(uuid.uuid4())
    begin = ["--print", "--session-id", session_id]

    running = [world.start(*begin, f"turn {n}", room="r", agent="a") for n in range(5)]
    done = outcomes(running)

    assert all("heard: turn" in stdout and not stderr for stdout, stderr in done), done
    assert sorted(said(world, api, session_id)) == [f"turn {n}" for n in range(5)]


def one_turn(stream: Stream, prompt: str, results: list[str]) -> None:
    """What query() of the SDKs does: one turn, and the end of the input."""
    results.append(stream.ask(prompt))
    stream.close()


def test_three_calls_of_an_sdk_at_once_are_three_turns_in_one_line(
    world: World, api: MessagesApi
) -> None:
    world.ask("hello", room="r")
    results: list[str] = []
    streams = [world.stream(room="r") for _ in range(3)]
    calls = [
        threading.Thread(target=one_turn, args=(stream, f"query {n}", results))
        for n, stream in enumerate(streams)
    ]
    for call in calls:
        call.start()
    for call in calls:
        call.join(TIMEOUT)

    assert len(results) == 3
    assert [stream.stderr for stream in streams] == ["", "", ""]
    assert sorted(said(world, api, world.mapping("r") or "")[1:]) == [
        f"query {n}" for n in range(3)
    ]


def test_a_call_beside_a_turn_waits_for_its_end_and_forks_with_all_turns(
    world: World, api: MessagesApi, held: threading.Event
) -> None:
    stream = world.stream(room="r")
    assert stream.ask("one") == "heard: one"
    stream.send("take your time")
    wait_for_turn(api, "take your time")
    beside = world.start("-p", "beside", room="r")
    wait_until(lambda: beside.poll() is None and len(api.turns()) == 2, "nobody asks meanwhile")

    held.set()

    stdout, stderr = beside.communicate(timeout=TIMEOUT)
    assert stdout == "heard: beside | before: one ; take your time\n"
    assert stderr.startswith("claude-shim: room 'r', agent 'claude' is in use by another claude")
    assert stderr.count("\n") == 1
    assert "No response requested" not in str(api.turns()[-1].history)


def test_a_call_that_does_not_wait_forks_from_the_last_finished_turn(
    world: World, api: MessagesApi, held: threading.Event
) -> None:
    stream = world.stream(room="r")
    assert stream.ask("one") == "heard: one"
    stream.send("take your time")
    wait_for_turn(api, "take your time")

    done = world.run("-p", "impatient", room="r", env={"NSED_ON_BUSY": "fork"})

    assert done.stdout == "heard: impatient | before: one\n"
    assert "No response requested" not in str(api.turns()[-1].history)
    held.set()
    assert stream.next_result()["result"] == "heard: take your time | before: one"


def test_an_explicit_conversation_is_never_forked_and_its_caller_is_warned(
    world: World, api: MessagesApi
) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    session_id = world.mapping("r") or ""

    done = world.run("-p", "named", "--resume", session_id, room="r")

    assert done.stdout == "heard: named | before: one\n"
    assert done.stderr.count("\n") == 1
    assert "turns may be lost" in done.stderr
    assert len(world.transcripts(session_id)) == 1
    assert api.turns()[-1].session_id == session_id
    fails = world.run("-p", "named", "--resume", session_id, room="r", env={"NSED_ON_BUSY": "fail"})
    assert fails.returncode == 75


def test_a_named_conversation_without_a_room_is_claudes_own_business(world: World) -> None:
    world.ask("hello", room="r")
    session_id = world.mapping("r") or ""
    stream = world.stream(room="r")
    stream.ask("one")

    assert world.ask("named", "--resume", session_id) == "heard: named | before: hello ; one"
