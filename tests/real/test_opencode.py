"""Inside OpenCode, with the plugin: every conversation and every agent finds its own claude."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.support import opencode, real_claude
from tests.support.messages_api import Reply
from tests.support.opencode import CLAUDE, OpenCode, ended

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi, Request
    from tests.support.real_claude import World

# Says how it was called, and becomes the real claude.
RECORDER = """#!/bin/sh
echo "$*" > "$RECORDS/arguments"
env > "$RECORDS/claude"
exec REAL "$@"
"""


@pytest.fixture
def without_plugin(world: World, api: MessagesApi) -> OpenCode:
    """OpenCode whose model runs `claude -p WORD` when told to "ask WORD".

    Told to "let NAME ask WORD", it has a subagent told so.
    """
    for word in ("one", "two", "three"):
        claude = {"command": f"claude -p {word}", "description": "asks claude"}
        api.on(f"ask {word}", Reply(tool=("bash", claude)))
        task = {"description": "asks", "prompt": f"ask {word}", "subagent_type": "alice"}
        api.on(f"let alice ask {word}", Reply(tool=("task", task)))
    return OpenCode(world, api.url)


@pytest.fixture
def with_plugin(without_plugin: OpenCode) -> OpenCode:
    """The same with the plugin, installed as a user does it."""
    without_plugin.world.claude_shim("opencode", "install")
    return without_plugin


def turns_of_claude(api: MessagesApi) -> list[Request]:
    """What claude has asked its model, and not OpenCode its own."""
    return [turn for turn in api.turns() if turn.session_id]


def heard(api: MessagesApi, prompt: str) -> list[str]:
    """All that the user has said to the claude that was asked this, by then."""
    [turn] = [turn for turn in turns_of_claude(api) if turn.prompt == prompt]
    return turn.user_turns


# Through the shell tool


def test_after_a_restart_an_agent_that_runs_claude_continues_its_conversation(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    with_plugin.run("ask one")
    with_plugin.run("ask two", "--continue")

    assert heard(api, "two") == ["one", "two"]
    [agents] = with_plugin.conversations.values()
    assert list(agents) == ["build"]
    [session] = json.loads(with_plugin.run_command("session", "list", "--format", "json"))
    [listed] = json.loads(with_plugin.world.claude_shim("list", "--json"))
    assert listed["about"] == session["title"]


def test_two_conversations_in_one_directory_have_two_claude_conversations(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    with_plugin.run("ask one")
    with_plugin.run("ask two")

    assert heard(api, "two") == ["two"]
    assert len(with_plugin.conversations) == 2


def test_two_agents_in_one_conversation_have_two_claude_conversations(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    with_plugin.run("ask one")
    with_plugin.run("ask two", "--continue", "--agent", "plan")

    assert heard(api, "two") == ["two"]
    [agents] = with_plugin.conversations.values()
    assert sorted(agents) == ["build", "plan"]


def test_a_subagent_that_is_called_twice_continues_its_conversation(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    with_plugin.run("let alice ask one")
    with_plugin.run("let alice ask two", "--continue")

    assert heard(api, "two") == ["one", "two"]
    [agents] = with_plugin.conversations.values()
    assert list(agents) == ["alice"]


def test_variables_that_opencode_was_started_with_win(with_plugin: OpenCode) -> None:
    with_plugin.run("ask one", env={"NSED_ROOM_ID": "mine", "NSED_AGENT_NAME": "me"})

    [(room, agents)] = with_plugin.conversations.items()
    assert (room, list(agents)) == ("mine", ["me"])


def test_a_plugin_installed_for_one_project_works_there(without_plugin: OpenCode) -> None:
    opencode.settle_in(without_plugin.world.work / ".opencode")
    without_plugin.world.claude_shim("opencode", "install", "--project")

    without_plugin.run("ask one")

    [agents] = without_plugin.conversations.values()
    assert list(agents) == ["build"]


# Through a provider that spawns claude


def test_after_a_restart_a_claude_that_a_provider_spawns_resumes_the_conversation(
    with_plugin: OpenCode,
) -> None:
    with_plugin.run("one", model=CLAUDE)
    answer = with_plugin.run("two", "--continue", model=CLAUDE)

    assert answer.strip() == "heard: two | before: one"
    [agents] = with_plugin.conversations.values()
    assert list(agents) == ["build"]


def test_the_title_agent_never_lands_in_the_conversation_that_runs_beside_it(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    with_plugin.run("one", model=CLAUDE, at_once=2)

    [title] = [turn for turn in turns_of_claude(api) if "title" in turn.prompt]
    [main] = [turn for turn in turns_of_claude(api) if turn is not title]
    assert (title.user_turns, main.user_turns) == ([title.prompt], ["one"])
    [agents] = with_plugin.conversations.values()
    assert agents == {"build": main.session_id}
    # No other claude was in it for a moment: a fork would stand here.
    assert not (with_plugin.world.store / "history.jsonl").exists()


def test_two_subagents_at_once_have_two_conversations(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    ask_at_once(with_plugin, api, "let alice hear one, let bob hear two")

    assert (heard(api, "one"), heard(api, "two")) == (["one"], ["two"])
    [agents] = with_plugin.conversations.values()
    assert sorted(agents) == ["alice", "bob"]


def test_a_subagent_that_is_called_twice_at_once_loses_no_turn(
    with_plugin: OpenCode, api: MessagesApi
) -> None:
    over = threading.Event()
    for word in ("one", "two"):
        api.on(word, Reply(hold=over))
    process = with_plugin.start("let alice hear one, let alice hear two", model=CLAUDE, at_once=3)
    api.wait_for(lambda api: {"one", "two"} & {turn.prompt for turn in turns_of_claude(api)})
    over.set()
    ended(process)

    with_plugin.run("let alice hear three", "--continue", model=CLAUDE)

    # The second waited until the first one's turn had ended.
    assert heard(api, "three") in (["one", "two", "three"], ["two", "one", "three"])
    [agents] = with_plugin.conversations.values()
    assert list(agents) == ["alice"]


def ask_at_once(with_plugin: OpenCode, api: MessagesApi, prompt: str) -> None:
    """Have two subagents asked "one" and "two", and a title, all being at work at one moment."""
    both = threading.Event()
    for word in ("one", "two"):
        api.on(word, Reply(hold=both))
    process = with_plugin.start(prompt, model=CLAUDE, at_once=3)
    api.wait_for(lambda api: {"one", "two"} <= {turn.prompt for turn in turns_of_claude(api)})
    both.set()
    ended(process)


# Without the plugin


def test_without_the_plugin_claude_runs_as_if_the_shim_were_not_there(
    world: World, without_plugin: OpenCode, api: MessagesApi, tmp_path: Path
) -> None:
    recorder = tmp_path / "recorder" / "claude"
    recorder.parent.mkdir()
    recorder.write_text(RECORDER.replace("REAL", str(real_claude.binary())))
    recorder.chmod(0o755)
    command = f"env > {tmp_path}/shell; claude -p hello"
    api.on("say hello", Reply(tool=("bash", {"command": command, "description": "asks claude"})))
    path = world.environment()["PATH"].replace(":", f":{recorder.parent}:", 1)

    without_plugin.run("say hello", env={"PATH": path, "RECORDS": str(tmp_path)})

    assert heard(api, "hello") == ["hello"]
    assert (tmp_path / "arguments").read_text() == "-p hello\n"
    assert variables(tmp_path / "claude") == variables(tmp_path / "shell")
    assert not world.store.exists()


def test_without_the_plugin_opencodes_own_command_line_names_the_room_and_agent(
    without_plugin: OpenCode, api: MessagesApi
) -> None:
    without_plugin.run("hello")
    session = session_of(without_plugin)

    without_plugin.run("ask one", "-s", session, "--agent", "plan")
    without_plugin.run("ask two", "--agent=plan", f"--session={session}")
    without_plugin.run("ask three", "-s", session)

    assert heard(api, "two") == ["one", "two"]
    assert heard(api, "three") == ["three"]
    [(room, agents)] = without_plugin.conversations.items()
    assert (room, sorted(agents)) == (f"oc-{session}", ["claude", "plan"])


def test_an_opencode_that_names_no_session_has_nothing_of_the_one_around_it(
    without_plugin: OpenCode, api: MessagesApi
) -> None:
    command = f"{opencode.binary()} run 'ask two' </dev/null"
    inner = {"command": command, "description": "starts another OpenCode", "timeout": 60_000}
    api.on("start another", Reply(tool=("bash", inner)))
    without_plugin.run("hello")
    session = session_of(without_plugin)
    without_plugin.run("ask one", "-s", session)

    without_plugin.run("start another", "-s", session)

    assert heard(api, "two") == ["two"]


def session_of(opencode_: OpenCode) -> str:
    """The session id of the only conversation there is, as OpenCode lists it."""
    [session] = json.loads(opencode_.run_command("session", "list", "--format", "json"))
    return str(session["id"])


def variables(record: Path) -> dict[str, str]:
    """What `env` has printed, but for what each shell sets for itself."""
    pairs = dict(line.split("=", 1) for line in record.read_text().splitlines() if "=" in line)
    return {name: pairs[name] for name in pairs if name not in ("_", "SHLVL", "PWD", "OLDPWD")}
