"""The SDK's functions for sessions, on the conversation of a room: what the room then knows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support import agent_sdk
from tests.support.real_claude import VERSIONS, World, knows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.messages_api import MessagesApi

ROOM = "r"
# Resumes the conversation up to the end of its first turn, through the launcher.
FROM_THE_FIRST_TURN = """
import asyncio
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, get_session_messages, query

[at] = [m.uuid for m in get_session_messages(%(session_id)r) if m.type == "assistant"][:1]
options = ClaudeAgentOptions(
    cli_path=%(claude)r, env=%(env)r, resume=%(session_id)r, resume_session_at=at
)

async def ask():
    async for message in query(prompt="instead", options=options):
        if isinstance(message, ResultMessage):
            print(message.result)

asyncio.run(ask())
"""

# Resumes the conversation from a store that is the program's own, through the launcher.
FROM_OWN_STORE = """
import asyncio
import claude_agent_sdk as sdk

async def ask():
    store = sdk.InMemorySessionStore()
    await sdk.import_session_to_store(%(session_id)r, store)
    options = sdk.ClaudeAgentOptions(
        cli_path=%(claude)r, env=%(env)r, resume=%(session_id)r, session_store=store
    )
    async for message in sdk.query(prompt="in the store", options=options):
        if isinstance(message, sdk.ResultMessage):
            print(message.result)

asyncio.run(ask())
"""


@pytest.fixture
def world(tmp_path: Path, api: MessagesApi, launcher_path: Path) -> Iterator[World]:
    """A world of the claude that the SDK brings."""
    with World(tmp_path, api.url, launcher_path, VERSIONS[-1]) as running:
        yield running


@pytest.fixture
def head(world: World) -> str:
    """The head of the room, which was told two things."""
    world.ask("one", room=ROOM)
    world.ask("two", room=ROOM)
    session_id = world.mapping(ROOM)
    assert session_id
    return session_id


def resumed(world: World, program: str, head: str) -> list[str]:
    """What a program answers that resumes the conversation, with the room set."""
    facts = {"session_id": head, "claude": str(world.launcher), "env": {"NSED_ROOM_ID": ROOM}}
    return agent_sdk.run(program % facts, world.environment(), world.work)


def sdk(world: World, call: str) -> list[str]:
    program = f"import claude_agent_sdk as sdk\nprint({call})"
    return agent_sdk.run(program, world.environment(), world.work)


def test_a_renamed_room_resumes_and_has_the_title(world: World, head: str) -> None:
    sdk(world, f"sdk.rename_session({head!r}, 'The migration')")
    assert knows(world.ask("three", room=ROOM)) == ["one", "two"]
    [listed] = json.loads(world.claude_shim("list", "--json"))
    assert listed["about"] == "The migration"


def test_a_tagged_room_resumes_and_keeps_its_tag(world: World, head: str) -> None:
    sdk(world, f"sdk.tag_session({head!r}, 'release')")
    assert knows(world.ask("three", room=ROOM)) == ["one", "two"]
    assert sdk(world, f"sdk.get_session_info({head!r}).tag") == ["release"]


def test_a_room_that_is_linked_to_a_fork_of_the_sdk_resumes_that(world: World, head: str) -> None:
    [fork] = sdk(world, f"sdk.fork_session({head!r}).session_id")
    world.claude_shim("link", ROOM, "claude", fork)
    assert knows(world.ask("three", room=ROOM)) == ["one", "two"]
    assert world.mapping(ROOM) == fork


def test_a_room_whose_conversation_the_sdk_deleted_begins_anew(world: World, head: str) -> None:
    sdk(world, f"sdk.delete_session({head!r})")
    assert knows(world.ask("three", room=ROOM)) == []


def test_a_room_resumed_at_an_earlier_turn_knows_what_was_said_from_there(
    world: World, head: str
) -> None:
    [answer] = resumed(world, FROM_THE_FIRST_TURN, head)
    assert knows(answer) == ["one"]
    assert knows(world.ask("three", room=ROOM)) == ["one", "instead"]
    assert world.mapping(ROOM) == head


def test_a_turn_in_a_store_of_the_programs_own_is_not_in_the_room(world: World, head: str) -> None:
    [answer] = resumed(world, FROM_OWN_STORE, head)
    assert knows(answer) == ["one", "two"]
    assert knows(world.ask("three", room=ROOM)) == ["one", "two"]
