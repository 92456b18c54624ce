"""The recipes of the README and the manual for the Agent SDK, pasted and run: nothing on stderr."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support import console
from tests.support.agent_sdk import run
from tests.support.real_claude import knows

if TYPE_CHECKING:
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


def test_a_bot_on_the_sdk_remembers_each_thread(world: World) -> None:
    world.claude_shim("install")
    first, second, third = run(RECIPES["bots"] + TALK, world.environment(), world.work)
    assert (knows(first), knows(second), knows(third)) == ([], [], ["one"])
    assert world.mapping("thread-1", "bot")


def test_a_program_of_the_fleet_resumes_a_room(hosts: tuple[Host, Host]) -> None:
    host, _ = hosts
    host.ask("one", room="r")
    [answer] = run(RECIPES["fleet"] + ONE_QUESTION, host.environment(), host.work)
    assert knows(answer) == ["one"]
