"""The conversation that a person chooses at a terminal is the room's, with a turn in it or not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.real_claude import VERSIONS, knows, wait_until

if TYPE_CHECKING:
    from tests.support.real_claude import Screen, World


def cleared(world: World) -> tuple[Screen, str]:
    """A room at a terminal, where something was said after /clear; and the conversation before."""
    screen = world.screen(room="r")
    screen.ask("one")
    before = world.mapping("r") or ""
    screen.say("/clear")
    screen.wait_until(lambda: world.mapping("r") != before, "the head is the new conversation")
    screen.ask("two")
    wait_for_transcript(world, "heard: two")
    return screen, before


def wait_for_transcript(world: World, text: str) -> None:
    paths = (world.home / ".claude" / "projects").glob
    wait_until(lambda: any(text in path.read_text() for path in paths("*/*.jsonl")), text)


def end_turn(world: World, screen: Screen) -> None:
    """Wait until a turn has ended, hooks included: what is pressed before interrupts it."""
    screen.wait_until(
        lambda: all(entry.get("status") != "busy" for entry in world.registered()), "its end"
    )


def on(world: World) -> list[str]:
    """The conversations that claudes are on."""
    return [entry["sessionId"] for entry in world.registered()]


@pytest.mark.parametrize("how", ["left", "killed"])
def test_an_earlier_conversation_that_was_only_resumed_becomes_the_head(
    any_claude: World, how: str
) -> None:
    screen, before = cleared(any_claude)
    screen.say(f"/resume {before}")
    screen.wait_until(lambda: before in on(any_claude), "claude is on the earlier one")
    screen.wait_until(lambda: any_claude.mapping("r") == before, "the head is the earlier one")
    screen.quit() if how == "left" else screen.kill()

    assert knows(any_claude.ask("next", room="r")) == ["one"]


def test_a_conversation_that_was_cleared_is_gone_though_claude_is_killed_at_once(
    any_claude: World,
) -> None:
    screen = any_claude.screen(room="r")
    screen.ask("one")
    before = any_claude.mapping("r")
    screen.say("/clear")
    screen.wait_until(lambda: any_claude.mapping("r") != before, "the head is a new one")
    screen.kill()

    assert any_claude.run("-p", "next", room="r").stdout == "heard: next\n"


def test_a_branch_is_resumed(any_claude: World) -> None:
    screen = any_claude.screen(room="r")
    screen.ask("one")
    before = any_claude.mapping("r")
    screen.say("/branch")
    screen.wait_until(lambda: any_claude.mapping("r") != before, "the head is the branch")
    screen.ask("two")
    end_turn(any_claude, screen)
    screen.quit()

    assert knows(any_claude.ask("next", room="r")) == ["one", "two"]


# 2.1.197 has no /fork.
@pytest.mark.parametrize("any_claude", VERSIONS[1:], indirect=True)
def test_a_copy_in_the_background_is_not_the_room(any_claude: World) -> None:
    screen = any_claude.screen(room="r")
    screen.ask("one")
    before = any_claude.mapping("r")
    screen.say("/fork")
    screen.wait_until(
        lambda: any(job.get("forkParentSessionId") for job in any_claude.jobs()), "the copy"
    )
    screen.ask("two")
    end_turn(any_claude, screen)
    screen.quit()

    assert any_claude.mapping("r") == before
    assert knows(any_claude.ask("next", room="r")) == ["one", "two"]


def test_what_claude_says_at_its_end_has_no_option_of_ours(any_claude: World) -> None:
    screen = any_claude.screen(room="r")
    screen.ask("one")
    screen.quit()

    assert f"claude --resume {any_claude.mapping('r')}" in screen.text
    assert "--plugin-dir" not in screen.text
