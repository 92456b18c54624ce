"""The promise: a room and agent have one conversation, whatever was restarted in between."""

from __future__ import annotations

import json
import shutil
import uuid
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

    Ask = Callable[[World, str], str]


def ask_in_text(world: World, prompt: str) -> str:
    return world.ask(prompt, room="refactor")


def ask_in_json(world: World, prompt: str) -> str:
    result = json.loads(world.ask(prompt, "--output-format", "json", room="refactor"))
    assert result["session_id"] == world.mapping("refactor")
    return str(result["result"])


def ask_in_stream_json(world: World, prompt: str) -> str:
    stream = world.stream(room="refactor")
    answer = stream.ask(prompt)
    assert (stream.close(), stream.stderr) == (0, "")
    assert {message.get("session_id") for message in stream.messages} == {world.mapping("refactor")}
    return answer


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ask_in_text, ask_in_text),
        (ask_in_json, ask_in_json),
        (ask_in_stream_json, ask_in_stream_json),
        (ask_in_text, ask_in_stream_json),
        (ask_in_stream_json, ask_in_json),
    ],
)
def test_the_second_call_continues_what_the_first_started(
    any_claude: World, api: MessagesApi, first: Ask, second: Ask
) -> None:
    assert first(any_claude, "one") == "heard: one"
    started = any_claude.mapping("refactor")

    assert second(any_claude, "two") == "heard: two | before: one"

    assert api.turns()[-1].history == [
        ("user", "one"),
        ("assistant", "heard: one"),
        ("user", "two"),
    ]
    assert started == any_claude.mapping("refactor")
    assert {turn.session_id for turn in api.turns()} == {started}


def test_a_new_conversation_has_the_id_that_nsed_derives(world: World) -> None:
    world.ask("one", room="refactor", agent="alice")

    derived = str(uuid.uuid5(uuid.NAMESPACE_URL, "nsed://agent/alice/refactor"))
    assert world.mapping("refactor", "alice") == derived
    assert len(world.transcripts_of("refactor", "alice")) == 1


def test_a_streaming_claude_takes_many_turns_and_the_next_one_continues_them(world: World) -> None:
    stream = world.stream(room="refactor")
    assert [stream.ask("one"), stream.ask("two")] == ["heard: one", "heard: two | before: one"]
    stream.close()

    assert world.stream(room="refactor").ask("three") == "heard: three | before: one ; two"


def test_it_continues_from_another_directory(world: World) -> None:
    world.ask("one", room="refactor")
    elsewhere = world.directory(world.work / "sub" / "directory")

    assert world.ask("two", room="refactor", cwd=elsewhere) == "heard: two | before: one"
    assert world.ask("three", room="refactor") == "heard: three | before: one ; two"


def test_it_continues_after_the_store_was_deleted(world: World) -> None:
    world.ask("one", room="refactor")
    started = world.mapping("refactor")
    shutil.rmtree(world.store)

    assert world.ask("two", room="refactor") == "heard: two | before: one"
    assert world.mapping("refactor") == started


def test_a_deleted_transcript_starts_again_under_the_same_id(
    world: World, api: MessagesApi
) -> None:
    world.ask("one", room="refactor")
    started = world.mapping("refactor")
    (transcript,) = world.transcripts_of("refactor")
    transcript.unlink()

    assert world.ask("two", room="refactor") == "heard: two"
    assert world.ask("three", room="refactor") == "heard: three | before: two"
    assert world.mapping("refactor") == started
    assert {turn.session_id for turn in api.turns()} == {started}


@pytest.mark.parametrize(
    ("content", "project"),
    [
        ("", "."),
        ('{"type":"queue-operation","operation":"enqueue"}\n', "."),
        ('{"parentUuid":null,"isSidechain":false,"type":"user","mess', "."),
        ("", "another"),
    ],
    ids=["empty", "no message", "one torn line", "empty, in another project"],
)
def test_an_unusable_transcript_is_kept_aside_and_the_conversation_heals(
    world: World, content: str, project: str
) -> None:
    world.ask("one", room="refactor")
    (transcript,) = world.transcripts_of("refactor")
    transcript.write_text(content)
    cwd = world.directory(world.work / project)

    healing = world.run("-p", "two", room="refactor", cwd=cwd)

    assert (healing.returncode, healing.stdout) == (0, "heard: two\n")
    (warning,) = healing.stderr.splitlines()
    assert warning.startswith(f"claude-shim: {transcript.parent}/….jsonl holds no message")
    (kept,) = transcript.parent.glob(f"{transcript.name}.unusable-*")
    assert kept.read_text() == content
    assert world.ask("three", room="refactor", cwd=cwd) == "heard: three | before: two"


def cut(written: str) -> str:
    return written + written[: len(written) // 2].splitlines()[-1]


def filled_with_nul(written: str) -> str:
    return written + "\0" * 4096


def spaced_otherwise(written: str) -> str:
    lines = [line for line in written.splitlines() if line]
    return "".join(json.dumps(json.loads(line)) + "\n" for line in lines)


@pytest.mark.parametrize("damage", [cut, filled_with_nul, spaced_otherwise])
def test_a_damaged_transcript_that_claude_can_read_is_continued(
    world: World, damage: Callable[[str], str]
) -> None:
    world.ask("one", room="refactor")
    (transcript,) = world.transcripts_of("refactor")
    transcript.write_text(damage(transcript.read_text()))

    assert world.ask("two", room="refactor") == "heard: two | before: one"


@pytest.mark.parametrize(
    "other",
    [{"room": "refactor", "agent": "bob"}, {"room": "release", "agent": "alice"}],
    ids=["two agents in one room", "one agent in two rooms"],
)
def test_two_conversations_stay_apart(world: World, other: dict[str, str]) -> None:
    one = {"room": "refactor", "agent": "alice"}
    world.ask("one's first", **one)
    world.ask("other's first", **other)

    assert world.ask("second", **one) == "heard: second | before: one's first"
    assert world.ask("second", **other) == "heard: second | before: other's first"
    assert world.mapping(**one) != world.mapping(**other)


def test_the_agent_option_names_the_agent_of_a_room_and_alone_it_is_claudes_own(
    world: World,
) -> None:
    agents = world.directory(world.work / ".claude" / "agents")
    (agents / "reviewer.md").write_text("---\nname: reviewer\ndescription: Reviews.\n---\nReview.")
    world.ask("one", "--agent", "reviewer", room="r")

    assert world.ask("two", "--agent", "reviewer") == "heard: two"
    assert world.ask("three", "--agent", "reviewer", room="r") == "heard: three | before: one"
    assert world.ask("four", room="r", agent="reviewer") == "heard: four | before: one ; three"
    assert world.mapping("", "reviewer") is None


def test_the_id_of_an_existing_conversation_is_resumed_and_recorded(world: World) -> None:
    session_id = str(uuid.uuid4())
    world.ask("one", "--session-id", session_id)
    assert world.mapping("refactor") is None

    assert world.ask("two", "--session-id", session_id, room="refactor") == (
        "heard: two | before: one"
    )
    assert world.mapping("refactor") == session_id
    assert world.ask("three", room="refactor") == "heard: three | before: one ; two"


def test_without_a_room_and_agent_calls_are_not_joined(world: World, api: MessagesApi) -> None:
    assert [world.ask("one"), world.ask("two")] == ["heard: one", "heard: two"]

    assert len({turn.session_id for turn in api.turns()}) == 2
    assert not world.store.exists()


def test_a_person_at_a_terminal_finds_yesterdays_conversation(
    world: World, api: MessagesApi
) -> None:
    yesterday = world.terminal(room="refactor")
    yesterday.say("call it walnut")
    yesterday.wait_for("heard: call it walnut")
    assert yesterday.exit() == 0

    today = world.terminal(room="refactor")
    today.wait_for("heard: call it walnut")
    today.say("what is it")
    today.wait_for("heard: what is it | before: call it walnut")
    assert today.exit() == 0

    assert world.ask("and now", room="refactor") == (
        "heard: and now | before: call it walnut ; what is it"
    )
    assert {turn.session_id for turn in api.turns()} == {world.mapping("refactor")}
