"""The promise: a conversation idle for a year still resumes, and one that was deleted does not."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import psutil

from tests.support import real_claude
from tests.support.messages_api import Reply
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

DAY = 86400.0


def transcript_of(world: World, room: str) -> Path:
    (path,) = world.transcripts_of(room)
    return path


def kept(world: World, room: str) -> Path:
    return world.store / "kept" / f"{world.mapping(room)}.jsonl"


def age(path: Path, days: float) -> None:
    written = time.time() - days * DAY
    os.utime(path, (written, written))


def let_claude_clean_up(world: World, *gone: Path) -> None:
    """Run a claude of nobody's until its own clean-up has deleted these transcripts.

    Claude cleans up once a day (help facts, "Clean-up"), so its note of the last time goes first.
    """
    (world.home / ".claude/.last-cleanup").unlink(missing_ok=True)
    stream = world.stream(program=real_claude.binary())
    stream.ask("hello")
    wait_until(lambda: not any(path.exists() for path in gone), "claude's clean-up")
    assert stream.close() == 0


def a_day_later(world: World) -> None:
    """Let housekeeping be due."""
    age(world.store / "housekeeping", 1.01)


def has_kept_house(world: World) -> bool:
    return not any(
        str(world.store) in (process.info["cmdline"] or [])
        for process in psutil.process_iter(["cmdline"])
    )


def test_what_claude_cleaned_up_after_400_days_resumes_with_all_its_turns_and_again(
    world: World, api: MessagesApi
) -> None:
    elsewhere = world.directory(world.work.parent / "elsewhere")
    for prompt in ("one", "two"):
        world.ask(prompt, room="refactor")
    transcript = transcript_of(world, "refactor")

    age(transcript, 400)
    let_claude_clean_up(world, transcript)
    assert world.ask("three", room="refactor") == "heard: three | before: one ; two"
    assert api.turns()[-1].session_id == world.mapping("refactor")

    age(transcript, 400)
    let_claude_clean_up(world, transcript)
    answer = world.ask("four", room="refactor", cwd=elsewhere)
    assert answer == "heard: four | before: one ; two ; three"
    assert world.transcripts_of("refactor") == [transcript]
    assert kept(world, "refactor").samefile(transcript)


def test_a_claude_that_resumes_an_old_conversation_does_not_clean_it_up_itself(
    world: World,
) -> None:
    """Not even one that lives for long before its first turn."""
    world.ask("one", room="refactor")
    transcript = transcript_of(world, "refactor")
    old = transcript.with_name("6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11.jsonl")
    old.write_bytes(transcript.read_bytes())
    for path in (transcript, old):
        age(path, 40)
    stream = world.stream(room="refactor")
    wait_until(lambda: not old.exists(), "claude's clean-up")
    assert stream.ask("two") == "heard: two | before: one"
    assert transcript_of(world, "refactor").stat().st_nlink == 2


def test_what_a_person_deleted_stays_deleted(world: World) -> None:
    for prompt in ("walnut", "two"):
        world.ask(prompt, room="refactor")
    transcript = transcript_of(world, "refactor")
    age(transcript, 1)
    transcript.unlink()

    assert world.ask("three", room="refactor") == "heard: three"
    assert "walnut" not in transcript.read_text()
    assert not kept(world, "refactor").exists()


def test_one_shot_conversations_are_all_kept_after_a_days_housekeeping(world: World) -> None:
    rooms = ["one", "two", "three"]
    for room in rooms:
        world.ask("hi", room=room)
    assert not any(kept(world, room).exists() for room in rooms)

    a_day_later(world)
    world.ask("hi", room="another")
    wait_until(lambda: all(kept(world, room).exists() for room in rooms), "housekeeping")
    assert all(kept(world, room).samefile(transcript_of(world, room)) for room in rooms)
    wait_until(lambda: has_kept_house(world), "the end of housekeeping")


def test_a_claude_killed_while_housekeeping_runs_loses_nothing(
    world: World, api: MessagesApi
) -> None:
    world.ask("one", room="refactor")
    transcript = transcript_of(world, "refactor")
    for killed in range(3):
        kept(world, "refactor").unlink(missing_ok=True)
        a_day_later(world)
        api.on(f"killed {killed}", Reply(delay=60))
        claude = world.start("-p", f"killed {killed}", room="refactor")
        api.wait_for(lambda api, n=killed: any(f"killed {n}" in t.prompt for t in api.turns()))
        os.kill(claude.pid, signal.SIGKILL)
        claude.wait(real_claude.TIMEOUT)
        wait_until(lambda: has_kept_house(world), "the end of housekeeping")
        assert kept(world, "refactor").samefile(transcript)
    assert "one" in world.ask("two", room="refactor")


def test_a_live_claude_whose_transcript_was_cleaned_up_loses_no_turn(world: World) -> None:
    for prompt in ("walnut", "one"):
        world.ask(prompt, room="refactor")
    transcript = transcript_of(world, "refactor")
    stream = world.stream(room="refactor")
    assert stream.ask("two") == "heard: two | before: walnut ; one"
    age(transcript, 40)
    let_claude_clean_up(world, transcript)
    stream.ask("three")
    assert stream.close() == 0
    assert not kept(world, "refactor").samefile(transcript)

    assert world.ask("four", room="refactor") == "heard: four | before: walnut ; one ; two ; three"
    assert world.ask("five", room="refactor").endswith("walnut ; one ; two ; three ; four")


def test_a_shorter_period_of_a_project_where_only_one_shots_ran_is_known(world: World) -> None:
    project = world.directory(world.work.parent / "project")
    (project / ".claude").mkdir()
    (project / ".claude" / "settings.json").write_text('{"cleanupPeriodDays": 5}')
    for prompt in ("one", "two"):
        world.ask(prompt, room="refactor", cwd=project)
    transcript = transcript_of(world, "refactor")
    age(transcript, 6)
    stream = world.stream(program=real_claude.binary(), cwd=project)
    wait_until(lambda: not transcript.exists(), "claude's clean-up")
    stream.close()

    assert world.ask("three", room="refactor") == "heard: three | before: one ; two"
