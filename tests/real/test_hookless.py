"""Where claude runs none of our hooks, or not all, the room still resumes its own conversation."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from tests.support.real_claude import Stream, World

WAYS = ["user settings", "project settings", "--settings", "--safe-mode", "CLAUDE_CODE_SIMPLE"]


class Without:
    """A way to have claude run no hooks: options and variables for each call."""

    def __init__(self, world: World, way: str) -> None:
        self.args: tuple[str, ...] = ()
        self.env: dict[str, str] = {}
        disabled = json.dumps({"disableAllHooks": True})
        places = {"user settings": world.home, "project settings": world.work}
        if way in places:
            settings = places[way] / ".claude" / "settings.json"
            settings.parent.mkdir()
            settings.write_text(disabled)
        elif way == "--settings":
            self.args = (way, disabled)
        elif way.startswith("--"):
            self.args = (way,)
        else:
            self.env = {way: "1"}


@pytest.fixture(params=WAYS)
def without(request: pytest.FixtureRequest, world: World) -> Without:
    return Without(world, request.param)


def clear(stream: Stream) -> None:
    stream.send("/clear")
    stream.next_result()


def wait_for_transcript(world: World, text: str) -> None:
    """Wait until claude has written this."""
    paths = (world.home / ".claude" / "projects").glob
    wait_until(lambda: any(text in path.read_text() for path in paths("*/*.jsonl")), text)


def test_a_fork_is_the_head_from_its_start(world: World, without: Without) -> None:
    stream = world.stream(*without.args, room="r", env=without.env)
    stream.ask("one")
    beside = world.run(*without.args, "-p", "beside", room="r", env=without.env)
    assert beside.stdout == "heard: beside | before: one\n"
    assert "runs in a fork of its conversation" in beside.stderr
    assert stream.close() == 0

    answer = world.ask("next", *without.args, room="r", env=without.env)
    assert answer == "heard: next | before: one ; beside"


@pytest.mark.parametrize("way", ["user settings", "--safe-mode"])
def test_what_was_cleared_stays_cleared_after_a_kill(any_claude: World, way: str) -> None:
    world = any_claude
    without = Without(world, way)
    stream = world.stream(*without.args, room="r", env=without.env)
    stream.ask("one")
    clear(stream)
    stream.ask("two")
    wait_for_transcript(world, "heard: two")
    stream.kill()

    answer = world.ask("next", *without.args, room="r", env=without.env)
    assert answer == "heard: next | before: two"


@pytest.mark.parametrize("way", ["user settings", "--safe-mode"])
def test_what_was_cleared_stays_cleared_after_an_exit(any_claude: World, way: str) -> None:
    world = any_claude
    without = Without(world, way)
    stream = world.stream(*without.args, room="r", env=without.env)
    stream.ask("one")
    clear(stream)
    stream.ask("two")
    assert stream.close() == 0

    for prompt, before in (("next", "two"), ("last", "two ; next")):
        answer = world.ask(prompt, *without.args, room="r", env=without.env)
        assert answer == f"heard: {prompt} | before: {before}"


def test_beside_a_live_claude_a_call_resumes_what_it_moved_to(world: World) -> None:
    without = Without(world, "user settings")
    stream = world.stream(*without.args, room="r")
    stream.ask("one")
    clear(stream)
    stream.ask("two")

    beside = world.run("-p", "beside", room="r")

    assert beside.stdout == "heard: beside | before: two\n"
    assert "runs in a fork of its conversation" in beside.stderr
    assert stream.close() == 0


class TestInAStreamThatShowsHooks:
    ARGS = ("--include-hook-events",)

    def test_the_first_message_is_still_the_init(self, any_claude: World) -> None:
        stream = any_claude.stream(*self.ARGS, room="r")
        stream.ask("one")
        assert stream.close() == 0
        shown = [(message["type"], message.get("subtype")) for message in stream.messages]
        assert shown[0] == ("system", "init")
        assert not any("hook" in str(subtype) for _, subtype in shown)

    def test_what_was_cleared_stays_cleared(self, any_claude: World) -> None:
        stream = any_claude.stream(*self.ARGS, room="r")
        stream.ask("one")
        clear(stream)
        stream.ask("two")
        assert stream.close() == 0
        assert any_claude.ask("next", room="r") == "heard: next | before: two"

    def test_what_was_cleared_stays_cleared_after_a_kill(self, any_claude: World) -> None:
        stream = any_claude.stream(*self.ARGS, room="r")
        stream.ask("one")
        clear(stream)
        stream.ask("two")
        wait_for_transcript(any_claude, "heard: two")
        stream.kill()
        assert any_claude.ask("next", room="r") == "heard: next | before: two"
