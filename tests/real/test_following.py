"""The mapping follows the conversation: /clear, /resume and forks move the head."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import real_claude
from tests.support.messages_api import Reply
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import Json, Stream, World


def wait_for_transcript(world: World, text: str) -> None:
    """Wait until claude has written this into the transcript of the room's head."""
    wait_until(
        lambda: any(text in path.read_text() for path in world.transcripts_of("r")),
        f"{text!r} in the transcript",
    )


def history(world: World) -> list[str]:
    lines = (world.store / "history.jsonl").read_text().splitlines()
    return [json.loads(line)["uuid"] for line in lines]


def test_on_a_terminal_what_was_cleared_stays_cleared(world: World) -> None:
    first = world.terminal(room="r")
    first.say("one")
    first.wait_for("heard: one")
    before = world.mapping("r")
    first.say("/clear")
    first.say("two")
    first.wait_for("heard: two")
    assert first.exit() == 0

    assert world.mapping("r") != before
    assert history(world) == [before]
    assert world.ask("three", room="r") == "heard: three | before: two"


def test_cleared_and_left_at_once_the_next_start_is_fresh(world: World) -> None:
    terminal = world.terminal(room="r")
    terminal.say("one")
    terminal.wait_for("heard: one")
    terminal.say("/clear")
    terminal.wait_for("❯")
    assert terminal.exit() == 0
    assert len(history(world)) == 1

    assert world.ask("two", room="r") == "heard: two"


def test_a_claude_left_without_a_prompt_is_resumed_at_the_next_start(world: World) -> None:
    world.ask("one", room="r")
    assert world.terminal(room="r").exit() == 0
    assert world.ask("two", room="r") == "heard: two | before: one"


def clear(stream: Stream) -> None:
    stream.send("/clear")
    stream.next_result()


def test_a_streaming_claude_killed_after_its_cleared_turn_was_written_is_continued(
    world: World,
) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    clear(stream)
    stream.ask("two")
    wait_for_transcript(world, "heard: two")
    stream.kill()

    assert world.ask("three", room="r") == "heard: three | before: two"


def test_a_streaming_claude_killed_in_the_middle_of_its_cleared_turn_is_continued(
    world: World, api: MessagesApi
) -> None:
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    stream = world.stream(room="r")
    stream.ask("one")
    first = world.mapping("r")
    clear(stream)
    stream.send("take your time")
    api.wait_for(lambda api: "take your time" in api.turns()[-1].prompt)
    stream.kill()
    over.set()

    assert world.mapping("r") != first
    assert "one" not in world.ask("three", room="r")


def test_a_fork_is_no_head_and_its_turns_come_back(world: World) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    main = world.mapping("r")
    wait_for_transcript(world, "heard: one")

    beside = world.run("-p", "beside", room="r")
    assert beside.stdout == "heard: beside | before: one\n"
    assert "runs in a fork of its conversation" in beside.stderr
    assert world.mapping("r") == main

    assert stream.ask("two") == "heard: two | before: one"
    assert world.mapping("r") == main
    assert stream.close() == 0
    assert world.ask("three", room="r") == "heard: three | before: one ; two ; beside"


def test_a_copy_on_a_terminal_says_above_its_prompt_that_it_is_one(world: World) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    wait_for_transcript(world, "heard: one")

    terminal = world.terminal(room="r")
    terminal.wait_for("one (fork")
    terminal.say("two")
    terminal.wait_for("heard: two | before: one")
    assert terminal.exit() == 0
    assert stream.close() == 0


def test_a_conversation_the_user_resumes_becomes_the_head(world: World) -> None:
    other = json.loads(world.ask("other", "--output-format", "json"))["session_id"]
    world.ask("one", room="r")
    terminal = world.terminal(room="r")
    terminal.say(f"/resume {other}")
    registry = world.home / ".claude" / "sessions"
    wait_until(
        lambda: any(other in entry.read_text() for entry in registry.glob("*.json")),
        "claude has resumed the other conversation",
    )
    terminal.say("two")
    wait_until(lambda: world.mapping("r") == other, "the mapping has moved")
    wait_for_transcript(world, "heard: two")
    assert terminal.exit() == 0

    assert world.ask("three", room="r") == "heard: three | before: other ; two"


def test_compaction_keeps_the_head(world: World, api: MessagesApi) -> None:
    api.on("CRITICAL: Respond with TEXT ONLY", Reply(text="a summary"))
    stream = world.stream(room="r")
    stream.ask("one")
    before = world.mapping("r")
    stream.send("/compact")
    stream.next_result()
    stream.ask("two")
    assert stream.close() == 0

    assert world.mapping("r") == before
    world.ask("three", room="r")
    assert "a summary" in str(api.turns()[-1].history)


@pytest.mark.parametrize("place", ["user settings", "--settings", "--plugin-dir"])
def test_the_hooks_of_others_run_beside_ours(world: World, tmp_path: Path, place: str) -> None:
    ran = tmp_path / "ran"
    hooks = {
        "hooks": {"UserPromptSubmit": [{"hooks": [{"type": "command", "command": f"touch {ran}"}]}]}
    }
    args = []
    if place == "user settings":
        (world.home / ".claude").mkdir(exist_ok=True)
        (world.home / ".claude" / "settings.json").write_text(json.dumps(hooks))
    elif place == "--settings":
        args = ["--settings", json.dumps(hooks)]
    else:
        (tmp_path / "plugin" / "hooks").mkdir(parents=True)
        (tmp_path / "plugin" / ".claude-plugin").mkdir()
        (tmp_path / "plugin" / ".claude-plugin" / "plugin.json").write_text('{"name": "theirs"}')
        (tmp_path / "plugin" / "hooks" / "hooks.json").write_text(json.dumps(hooks))
        args = ["--plugin-dir", str(tmp_path / "plugin")]

    stream = world.stream(*args, room="r")
    stream.ask("one")
    before = world.mapping("r")
    clear(stream)
    stream.ask("two")

    assert ran.exists()
    assert world.mapping("r") != before
    assert stream.close() == 0


def test_the_stream_shows_no_more_of_us_than_a_plugin(world: World) -> None:
    def shown(**where: object) -> list[Json]:
        stream = world.stream(**where)
        stream.ask("one")
        assert stream.close() == 0
        return [without_what_varies(message) for message in stream.messages]

    assert shown(room="r") == shown(program=real_claude.binary())


# Ids, times, and what the time of day or the load of the machine decides.
_VARIES = ("_ms", "uuid", "session_id", "timestamp", "plugins", "messaging_socket_path", "id")


def without_what_varies(value: object) -> object:
    if isinstance(value, dict):
        return {
            name: without_what_varies(item)
            for name, item in value.items()
            if not name.endswith(_VARIES)
        }
    return [without_what_varies(item) for item in value] if isinstance(value, list) else value
