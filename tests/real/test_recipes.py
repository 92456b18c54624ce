"""The recipes of the README and the manual for the Agent SDK, pasted and run: nothing on stderr."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support import agent_sdk, console
from tests.support.real_claude import ROOT, TIMEOUT, knows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tests.support.fleet import Host
    from tests.support.real_claude import World

RECIPES = {path.stem: code for path, code in console.recipes() if "claude_agent_sdk" in code}
TALK = """
import asyncio

print(asyncio.run(ask("thread-1", "one")))
print(asyncio.run(ask("thread-2", "two")))
print(asyncio.run(ask("thread-1", "three")))
"""
ONE_QUESTION = """
import asyncio

print(asyncio.run(ask("r", "two")))
"""


def run(program: str, environment: Mapping[str, str], directory: Path) -> list[str]:
    """The lines that a program prints, nothing being on its stderr."""
    python_path = f"{agent_sdk.wheel()}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": python_path},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()


def test_a_bot_on_the_sdk_remembers_each_thread(world: World) -> None:
    install = "from shim.commands.__main__ import main; main()"
    subprocess.run(
        [sys.executable, "-c", install, "install"],
        env={**world.environment(), "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    first, second, third = run(RECIPES["bots"] + TALK, world.environment(), world.work)
    assert (knows(first), knows(second), knows(third)) == ([], [], ["one"])
    assert world.mapping("thread-1", "bot")


def test_a_program_of_the_fleet_resumes_a_room(hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    host.ask("one", room="r")
    [answer] = run(RECIPES["fleet"] + ONE_QUESTION, host.environment(), host.work)
    assert knows(answer) == ["one"]
