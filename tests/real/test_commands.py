"""What `claude-shim` changes is what the next call of the real claude meets."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.real_claude import ROOT, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

PROGRAM = "from shim.commands.__main__ import main; main()"


def claude_shim(world: World, *args: str, cwd: Path | None = None) -> str:
    """What a command prints that succeeds."""
    done = world.run(
        *("-c", PROGRAM, *args), program=sys.executable, cwd=cwd, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def way_back(text: str) -> list[str]:
    """The operands of the command line that a command ends with."""
    return text.splitlines()[-1].partition("claude-shim ")[2].split()


@pytest.mark.parametrize("stored", [True, False], ids=["mapped", "its mapping lost"])
def test_after_forget_a_call_begins_anew_and_the_next_resumes_that(
    world: World, stored: bool
) -> None:
    world.ask("one", room="refactor")
    if not stored:
        for path in world.store.glob("sessions.json*"):
            path.unlink()

    claude_shim(world, "forget", "refactor")

    assert world.ask("two", room="refactor") == "heard: two"
    assert world.ask("three", room="refactor") == "heard: three | before: two"


def test_what_was_forgotten_can_be_had_back(world: World) -> None:
    world.ask("one", room="refactor")
    told = claude_shim(world, "forget", "refactor", "claude")
    world.ask("two", room="refactor")

    claude_shim(world, *way_back(told))

    assert world.ask("three", room="refactor") == "heard: three | before: one"


def test_a_conversation_that_moved_on_is_forgotten_with_what_it_came_from(world: World) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    stream.send("/clear")
    stream.next_result()
    stream.ask("two")
    wait_until(lambda: world.transcripts_of("r"), "the transcript of the new head")
    assert stream.close() == 0

    claude_shim(world, "forget", "r")

    assert world.ask("three", room="r") == "heard: three"


def test_after_link_a_call_resumes_the_linked_conversation(world: World, api: MessagesApi) -> None:
    world.ask("mine")  # no room
    other = world.directory(world.work / "elsewhere")
    (turn,) = api.turns()
    world.ask("one", room="refactor")

    told = claude_shim(world, "link", "refactor", "claude", str(turn.session_id)[:8])

    assert "it began with: mine" in told
    assert world.ask("two", room="refactor", cwd=other) == "heard: two | before: mine"
    claude_shim(world, *way_back(told))
    assert world.ask("three", room="refactor") == "heard: three | before: one"


def test_the_further_turns_of_a_live_claude_that_was_forgotten_are_not_in_the_room(
    world: World,
) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    pid = stream.process.pid
    arguments = ("-c", PROGRAM, "forget", "r", "--yes")
    done = world.run(*arguments, program=sys.executable, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0
    assert f"claude {pid} (streaming) is live on room 'r'" in done.stderr
    assert "its further turns are not in this room" in done.stderr
    head = world.mapping("r")

    stream.ask("two")

    assert world.mapping("r") == head
    assert stream.close() == 0
    assert world.ask("three", room="r") == "heard: three"


def test_a_live_claude_that_says_nothing_more_stays_forgotten(world: World) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    arguments = ("-c", PROGRAM, "forget", "r", "--yes")
    world.run(*arguments, program=sys.executable, env={"PYTHONPATH": str(ROOT)})
    assert stream.close() == 0

    assert world.ask("two", room="r") == "heard: two"


def test_projects_get_rooms_that_go_on_with_their_last_conversation(world: World) -> None:
    app, web = (world.directory(world.work / name) for name in ("app", "web"))
    world.ask("one", cwd=app)
    world.ask("two", cwd=app)
    world.ask("three", cwd=web)

    claude_shim(world, "import", "--from-projects")

    assert world.ask("four", room="app", cwd=app) == "heard: four | before: two"
    assert world.ask("five", room="web", cwd=app) == "heard: five | before: three"


def test_rooms_move_to_another_machine_with_their_transcripts(world: World) -> None:
    world.ask("one", room="r")
    stream = world.stream(room="r")
    stream.send("/clear")
    stream.next_result()
    stream.ask("two")
    assert stream.close() == 0
    exported = world.work / "mappings.json"
    exported.write_text(claude_shim(world, "export"))
    for path in world.store.glob("*"):
        if path.is_file():
            path.unlink()

    claude_shim(world, "import", str(exported))

    assert [head["session_id"] for head in json.loads(exported.read_text())["mappings"]] == [
        world.mapping("r")
    ]
    assert world.ask("three", room="r") == "heard: three | before: two"
