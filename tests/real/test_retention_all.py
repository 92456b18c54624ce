"""The promises on everything of a conversation: its accounts, what lies beside it, damage."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING

from tests.real.test_retention import (
    a_day_later,
    age,
    has_kept_house,
    kept,
    let_claude_clean_up,
    transcript_of,
)
from tests.support.messages_api import Reply
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi, Request
    from tests.support.real_claude import World


def keep_house(world: World) -> None:
    """Have a call of another room start the daily housekeeping, and wait for its end."""
    a_day_later(world)
    world.ask("hi", room="another")
    wait_until((world.store / "housekeeping.done").exists, "housekeeping")
    wait_until(lambda: has_kept_house(world), "the end of housekeeping")


def restored(path: Path) -> None:
    """A file as rsync restores it without its hard links: another one, with the old time."""
    copy = path.with_suffix(".restored")
    shutil.copy2(path, copy)
    copy.replace(path)


def test_a_home_that_was_restored_without_hard_links_loses_nothing(world: World) -> None:
    for prompt in ("one", "two"):
        world.ask(prompt, room="refactor")
    transcript = transcript_of(world, "refactor")
    for path in (transcript, kept(world, "refactor")):
        age(path, 40)
        restored(path)
    let_claude_clean_up(world, transcript)

    assert world.ask("three", room="refactor") == "heard: three | before: one ; two"


def test_two_config_directories_share_the_one_conversation_of_a_room_with_a_warning(
    any_claude: World,
) -> None:
    work = {"CLAUDE_CONFIG_DIR": str(any_claude.home / "work-account")}
    assert any_claude.ask("one", room="refactor") == "heard: one"
    done = any_claude.run("-p", "two", room="refactor", env=work)
    assert done.stdout == "heard: two | before: one\n"
    (warning,) = done.stderr.splitlines()
    assert f"what was said under {any_claude.home}/.claude:" in warning
    assert any_claude.ask("three", room="refactor") == "heard: three | before: one ; two"
    assert not list((any_claude.home / "work-account").glob("projects/*/*.jsonl"))

    keep_house(any_claude)
    transcript = transcript_of(any_claude, "refactor")
    age(transcript, 40)
    let_claude_clean_up(any_claude, transcript)
    done = any_claude.run("-p", "four", room="refactor", env=work)
    assert done.stdout == "heard: four | before: one ; two ; three\n"


def test_a_directory_with_a_long_path_has_one_conversation_under_each_config_directory(
    any_claude: World,
) -> None:
    long = any_claude.directory(any_claude.work / ("long" * 40) / ("long" * 10))
    work = {"CLAUDE_CONFIG_DIR": str(any_claude.home / "work-account")}
    any_claude.ask("one", room="refactor", cwd=long)
    done = any_claude.run("-p", "two", room="refactor", cwd=long, env=work)
    assert done.stdout == "heard: two | before: one\n"
    answer = any_claude.ask("three", room="refactor", cwd=long)
    assert answer == "heard: three | before: one ; two"


def test_what_was_said_under_a_temporary_config_directory_outlives_it(any_claude: World) -> None:
    temporary = any_claude.directory(any_claude.home / "tmp")
    account = temporary / "of-an-sdk"
    env = {"CLAUDE_CONFIG_DIR": str(account), "TMPDIR": str(temporary)}
    assert any_claude.ask("one", room="refactor", env=env) == "heard: one"
    shutil.rmtree(account)
    assert any_claude.ask("two", room="refactor", env=env) == "heard: two | before: one"
    shutil.rmtree(account)
    assert any_claude.ask("three", room="refactor") == "heard: three | before: one ; two"


def test_a_named_project_and_none_are_one_conversation(world: World) -> None:
    account = {"CLAUDE_CONFIG_DIR": str(world.home / ".claude")}
    named = account | {"CLAUDE_CODE_PROJECT_DIR_NAME": "a-name_of-mine"}
    world.ask("one", room="refactor", env=named)
    assert transcript_of(world, "refactor").parent.name == "a-name_of-mine"
    assert world.ask("two", room="refactor", env=named) == "heard: two | before: one"
    assert world.ask("three", room="refactor", env=account) == "heard: three | before: one ; two"
    transcript_of(world, "refactor")


def test_a_tool_result_that_claude_cleaned_up_under_a_live_conversation_comes_back(
    world: World, api: MessagesApi
) -> None:
    long = {"command": "head -c 200001 /dev/zero | tr '\\0' x", "description": "long"}
    api.on("print", Reply(tool=("Bash", long)))
    world.ask("print", "--dangerously-skip-permissions", room="refactor")
    transcript = transcript_of(world, "refactor")
    (result,) = transcript.with_suffix("").glob("tool-results/*")
    said = result.read_bytes()
    keep_house(world)

    age(result, 31)
    let_claude_clean_up(world, result)
    assert transcript.exists()
    world.ask("two", room="refactor")
    assert result.read_bytes() == said
    assert time.time() - result.stat().st_mtime < 86400

    age(transcript, 31)
    let_claude_clean_up(world, transcript, result)
    assert world.ask("three", room="refactor") == "heard: three | before: print ; two"
    assert result.read_bytes() == said


def test_a_fork_resumes_its_parents_subagents(world: World, api: MessagesApi) -> None:
    task = {
        "description": "sub",
        "prompt": "a task",
        "subagent_type": "general-purpose",
        "run_in_background": False,
    }
    api.on("delegate", Reply(tool=("Agent", task)))
    stream = world.stream("--dangerously-skip-permissions", room="refactor")
    stream.ask("delegate")
    (subagent,) = transcript_of(world, "refactor").with_suffix("").glob("subagents/agent-*.jsonl")
    size = subagent.stat().st_size
    to = {"to": subagent.stem.removeprefix("agent-"), "summary": "more", "message": "go on"}
    api.on("ask again", Reply(tool=("SendMessage", to)))

    done = world.run(
        *("--dangerously-skip-permissions", "-p", "ask again"),
        room="refactor",
        env={"NSED_ON_BUSY": "fork"},
    )
    assert done.returncode == 0, done
    forks = [path for path in subagent.parents[2].glob("*/subagents/*.jsonl") if path != subagent]
    assert [path.name for path in forks] == [subagent.name]

    def resumed(api: MessagesApi) -> bool:
        return any(
            _is_of(request, to["to"]) and len(request.body["messages"]) > 1
            for request in api.requests
        )

    api.wait_for(resumed)
    assert subagent.stat().st_size == size
    assert stream.close() == 0


def _is_of(request: Request, subagent: str) -> bool:
    return request.subagent == subagent


def test_a_transcript_that_lost_every_message_is_replaced_by_its_copy(world: World) -> None:
    for prompt in ("one", "two"):
        world.ask(prompt, room="refactor")
    keep_house(world)
    transcript = transcript_of(world, "refactor")
    transcript.write_text('{"type":"custom-title","customTitle":"x"}\n')

    done = world.run("-p", "three", room="refactor")
    assert done.stdout == "heard: three | before: one ; two\n"
    (warning,) = done.stderr.splitlines()
    assert "holds no message; it is kept as" in warning
    assert "the compressed copy takes its place" in warning
    (aside,) = transcript.parent.glob(f"{transcript.name}.unusable-*")
    assert "custom-title" in aside.read_text()
    assert world.ask("four", room="refactor") == "heard: four | before: one ; two ; three"
