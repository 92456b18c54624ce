"""`claude-shim doctor` beside real claudes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import shim
from tests.support import real_claude

if TYPE_CHECKING:
    from tests.support.real_claude import World


def findings(world: World) -> dict[str, dict[str, Any]]:
    path = Path(shim.__file__).parent.parent
    run = world.run(
        *("-c", "from shim.commands.__main__ import main; main()", "doctor", "--json"),
        program=Path(sys.executable),
        env={"PYTHONPATH": str(path)},
    )
    assert run.stderr == ""
    return {finding["check"]: finding for finding in json.loads(run.stdout)}


def test_it_has_nothing_to_say_of_claudes_that_were_started_through_the_shim(
    world: World,
) -> None:
    one = world.stream(room="r")
    one.ask("hello")
    fork = world.stream(room="r")
    fork.ask("hello again")  # it has the conversation now, and the other holds the lock

    found = findings(world)

    # Beside the real claude is an OpenCode, which is another test's.
    assert {name for name, it in found.items() if it["status"] != "ok"} <= {"opencode"}
    assert "2.1." in found["claude"]["found"]
    assert found["options"]["found"] == "discovered from this claude's --help"
    assert found["claudes"]["found"].startswith("1 claude holds a lock")


def test_a_claude_that_was_started_without_the_shim_is_unmanaged(world: World) -> None:
    world.ask("hello", room="r")
    session_id = world.mapping("r") or ""
    stranger = world.stream("--resume", session_id, program=real_claude.binary())
    stranger.ask("hello")

    finding = findings(world)["claudes"]

    assert finding["status"] == "warning"
    assert f"claude {stranger.process.pid} is on the conversation of room 'r'" in finding["found"]


def test_where_claude_runs_no_hooks_it_says_so(any_claude: World) -> None:
    any_claude.ask("hello", room="r")
    assert findings(any_claude)["hook"]["status"] == "ok"

    settings = any_claude.home / ".claude" / "settings.json"
    settings.write_text(json.dumps({"disableAllHooks": True}))

    finding = findings(any_claude)["hook"]
    assert finding["status"] == "warning"
    assert "claude runs no hooks" in finding["found"]
    assert "disableAllHooks" in finding["mend"]
