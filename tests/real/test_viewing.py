"""What `claude-shim` shows of real conversations and of the claudes that have them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support import real_claude
from tests.support.messages_api import Reply
from tests.support.real_claude import wait_until

if TYPE_CHECKING:
    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

CLAUDE_SHIM = Path(sys.executable).with_name("claude-shim")


def shown(world: World, *args: str) -> Any:
    done = world.run(*args, "--json", program=CLAUDE_SHIM)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_turns_are_what_the_user_said(world: World, api: MessagesApi) -> None:
    api.on("CRITICAL: Respond with TEXT ONLY", Reply(text="a summary"))
    api.on("run it", Reply(tool=("Bash", {"command": "echo hi", "description": "run"})))
    stream = world.stream("--dangerously-skip-permissions", room="r")
    for prompt in ("one", "run it"):
        stream.ask(prompt)
    stream.send("/compact")
    stream.next_result()
    stream.ask("three")
    assert stream.close() == 0

    (before,) = shown(world, "show", "r", "claude")
    assert (before["turns"], before["turns_are_exact"]) == (3, True)
    assert (before["first_prompt"], before["last_prompt"]) == ("one", "three")
    assert before["project"] == str(world.work)
    assert before["transcript"] == str(world.transcripts_of("r")[0])

    stream = world.stream(room="r")
    stream.send("/clear")
    stream.next_result()
    stream.ask("four")
    assert stream.close() == 0

    (after,) = shown(world, "show", "r", "claude")
    assert (after["turns"], after["first_prompt"], after["last_prompt"]) == (1, "four", "four")
    (earlier,) = after["earlier"]
    assert (earlier["session_id"], earlier["turns"]) == (before["session_id"], 3)


def test_the_command_shown_resumes_the_conversation_from_anywhere(
    world: World, tmp_path: Path
) -> None:
    world.ask("one", room="r", cwd=world.directory(tmp_path / "my app"))
    resume = shown(world, "show", "r", "claude")[0]["resume"]

    done = world.run("-c", f"{resume} -p two", program=Path("/bin/sh"))

    assert done.stdout == "heard: two | before: one\n"


def test_what_runs_is_shown_with_the_way_it_runs(world: World) -> None:
    world.ask("one", room="strange")
    stranger = world.stream(
        "--resume", world.mapping("strange") or "", program=real_claude.binary()
    )
    stranger.ask("two")
    stream = world.stream(room="stream")
    stream.ask("one")
    world.terminal(room="term")

    def running() -> dict[str, tuple[str, bool]]:
        return {each["room"]: (each["kind"], each["stranger"]) for each in shown(world, "ps")}

    wait_until(lambda: len(running()) == 3, "all three are shown")
    assert running() == {
        "strange": ("streaming", True),
        "stream": ("streaming", False),
        "term": ("interactive", False),
    }
    assert stranger.close() == stream.close() == 0
    assert list(running()) == ["term"]


def test_a_room_that_the_api_refuses_is_listed_with_the_error(
    any_claude: World, api: MessagesApi
) -> None:
    api.on("refuse this", Reply(status=400))
    any_claude.ask("one", room="r")
    for _ in range(2):
        assert any_claude.run("-p", "refuse this", room="r").returncode == 1

    [listed] = json.loads(any_claude.claude_shim("list", "--json"))
    assert "400" in listed["api_error"]

    any_claude.ask("two", room="r")
    [listed] = json.loads(any_claude.claude_shim("list", "--json"))
    assert listed["api_error"] is None
