"""Under OpenCode without our plugin: what its command line says about the conversation."""

import pytest

from tests.support.recorder import Call, World, write_program


@pytest.mark.parametrize(
    ("arguments", "room", "agent"),
    [
        ("run -s ses_1 --agent plan", b"oc-ses_1", b"plan"),
        ("--session=ses_1", b"oc-ses_1", b"claude"),
    ],
)
def test_under_opencode_without_the_plugin_its_command_line_names_the_room_and_agent(
    world: World, arguments: str, room: bytes, agent: bytes
) -> None:
    call = _called_by_an_opencode(world, arguments)
    assert call.args[:1] == [b"--session-id"]
    assert (call.variable("NSED_ROOM_ID"), call.variable("NSED_AGENT_NAME")) == (room, agent)


def test_under_an_opencode_that_names_no_session_claude_is_left_alone(world: World) -> None:
    call = _called_by_an_opencode(world, "run hi")
    assert call.args == [b"-p", b"hi"]
    assert call.variable("NSED_ROOM_ID") is None
    assert not world.store.exists()


def _called_by_an_opencode(world: World, arguments: str) -> Call:
    """A call that a shell, which a program named opencode has started, makes."""
    opencode = world.root / "opencode"
    write_program(opencode, f'#!/bin/sh\n/bin/sh -c "{world.launcher} -p hi; :"; :\n')
    world.environment["OPENCODE"] = "1"
    world.run(*arguments.split(), program=opencode)
    return world.claude.calls[-1]
