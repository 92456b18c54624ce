"""What a call says counts, also where its conversation is resumed; and every turn is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

HERON, EGRET = "You are a heron.", "You are an egret."


def system(api: MessagesApi) -> str:
    """The system prompt and tools of the last turn, as they reached the model."""
    body = api.turns()[-1].body
    return repr((body["system"], body["tools"]))


@pytest.mark.parametrize("option", ["--append-system-prompt", "--system-prompt"])
def test_another_persona_is_heard_and_an_unchanged_one_is_the_same_bytes(
    any_claude: World, api: MessagesApi, option: str
) -> None:
    # Resumed without a model, 2.1.197 says another variant of the default one in its prompt.
    model = ["--model", "sonnet"]
    any_claude.ask("one", option, HERON, *model, room="r")
    first = system(api)
    any_claude.ask("two", option, HERON, *model, room="r")
    assert system(api) == first
    any_claude.ask("three", option, EGRET, *model, room="r")
    assert EGRET in system(api)
    assert HERON not in system(api)
    answer = any_claude.ask("four", room="r")
    assert answer == "heard: four | before: one ; two ; three"
    assert not [bird for bird in (HERON, EGRET) if bird in system(api)]


def test_a_tool_that_is_taken_away_is_not_offered_any_more(
    any_claude: World, api: MessagesApi
) -> None:
    any_claude.ask("one", "--tools", "Bash,Read", room="r")
    any_claude.ask("two", "--tools", "Read", room="r")
    names = [tool["name"] for tool in api.turns()[-1].body["tools"]]
    assert "Read" in names
    assert "Bash" not in names


def test_an_interactive_claude_that_inherits_anothers_mark_keeps_what_is_said(
    any_claude: World,
) -> None:
    inherited = {"CLAUDECODE": "1", "CLAUDE_CODE_CHILD_SESSION": "1"}
    terminal = any_claude.terminal(room="r", env=inherited)
    terminal.say("remember the word heron")
    terminal.wait_for("heard: remember the word heron")
    assert terminal.exit() == 0

    assert any_claude.ask("which?", room="r").endswith("before: remember the word heron")


def test_a_turn_whose_result_was_seen_is_there_after_a_kill(any_claude: World) -> None:
    for number in range(5):
        stream = any_claude.stream(room=f"r{number}")
        stream.ask("one")
        stream.kill()
        answer = any_claude.ask("two", room=f"r{number}")
        assert answer == "heard: two | before: one"
