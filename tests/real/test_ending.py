"""How claude ends: by itself as without the shim, and by force without losing the conversation."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.support import real_claude
from tests.support.messages_api import Reply
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World


@pytest.fixture
def held(api: MessagesApi) -> Iterator[str]:
    """A prompt that the API does not answer until the test is over."""
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    yield "take your time"
    over.set()


def wait_for_transcript(world: World, text: str) -> None:
    """Wait until claude has written this into the transcript of the room."""
    wait_until(
        lambda: any(text in path.read_text() for path in world.transcripts_of("refactor")),
        f"{text!r} in the transcript",
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_as_without_the_shim(
    world: World, api: MessagesApi, held: str, number: signal.Signals
) -> None:
    def ending(program: Path) -> tuple[int, str, str]:
        so_far = len(api.turns())
        process = world.start("-p", held, program=program, room="refactor")
        api.wait_for(lambda api: len(api.turns()) > so_far)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=real_claude.TIMEOUT)
        return process.returncode, stdout, stderr

    # Interrupted as early as that, claude itself says so now, and nothing then.
    ours = ending(world.launcher)
    wait_until(lambda: ending(real_claude.binary()) == ours, "the same ending without the shim")


@pytest.mark.parametrize(
    ("args", "given"),
    [
        (["-p", "hi"], {}),
        (["-p"], {"stdin_text": "hi from a pipe"}),
        (["-p", "hi"], {"stdin_text": "and a pipe"}),
        (["-p"], {}),
        (["-p", "hi", "--no-such-option"], {}),
        (["-p", "refuse this"], {}),
    ],
    ids=["an answer", "a piped prompt", "both", "no prompt", "an unknown option", "an API error"],
)
def test_it_says_and_returns_what_it_would_without_the_shim(
    world: World, api: MessagesApi, args: list[str], given: dict[str, Any]
) -> None:
    api.on("refuse this", Reply(status=400))

    def outcome(program: Path) -> tuple[int, str, str]:
        done = world.run(*args, program=program, room="refactor", **given)
        return done.returncode, done.stdout, done.stderr

    assert outcome(world.launcher) == outcome(real_claude.binary())


def test_a_conversation_killed_after_it_was_written_is_continued(world: World) -> None:
    stream = world.stream(room="refactor")
    stream.ask("one")
    wait_for_transcript(world, "heard: one")
    stream.kill()

    assert world.ask("two", room="refactor") == "heard: two | before: one"


@pytest.mark.parametrize("before", [[], ["one"]], ids=["the first turn", "a later turn"])
def test_a_conversation_killed_in_the_middle_of_a_turn_is_continued(
    world: World, api: MessagesApi, held: str, before: list[str]
) -> None:
    for prompt in before:
        world.ask(prompt, room="refactor")
    process = world.start("-p", held, room="refactor")
    api.wait_for(lambda api: len(api.turns()) > len(before))
    wait_for_transcript(world, f'"type":"user","message":{{"role":"user","content":"{held}"')
    real_claude.kill(process)

    answer = world.ask("two", room="refactor")

    assert answer == "heard: two | before: " + " ; ".join([*before, held])


def test_a_killed_streaming_claude_is_resumed_by_the_id_its_caller_saw(world: World) -> None:
    """As provider plugins do, which claude itself refuses: the conversation exists."""
    stream = world.stream(room="refactor")
    stream.ask("one")
    seen = str(stream.messages[-1]["session_id"])
    wait_for_transcript(world, "heard: one")
    stream.kill()

    again = world.stream("--session-id", seen, room="refactor")

    assert again.ask("two") == "heard: two | before: one"
    assert again.close() == 0
    assert world.mapping("refactor") == seen
