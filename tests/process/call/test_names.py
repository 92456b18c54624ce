"""Rooms and agents may have any names: each is one conversation, and the store stays JSON."""

import os

import pytest

from tests.support.recorder import Text, World

NAMES = {
    "spaces": b" two  words ",
    "quotes": b"\"double\" 'single' `back` \\",
    "line ends": b"a\nb\r\nc\t\x0b\x0c",
    "controls": bytes(range(1, 32)) + b"\x7f",
    "emoji": "🙂👩‍👩‍👧 é é \u2028\u0085".encode(),
    "dots": b"../../../etc/passwd",
    "slash": b"/",
    "option": b"--resume",
    "json": b'{"a": {"b": 1}}',
    "key of the store": b"uuid",
    "dollar": b"$HOME %s {0} $(id)",
    "latin-1": b"caf\xe9",
    "no UTF-8 at all": bytes(range(128, 256)),
    "a surrogate's bytes": b"\xed\xa0\x80",
    "cut character": "🙂".encode()[:3],
    "long": b"x" * 10_000,
    "long and odd": 'é\n"'.encode() * 2_500,
}
LOCALES = ["C.UTF-8", "C"]
odd_names = pytest.mark.parametrize("name", NAMES.values(), ids=list(NAMES))


def remembered(world: World, *args: Text, **env: Text | None) -> str:
    """The conversation that two calls in a row continue: started, then resumed."""
    first = world.call(*args, "-p", env=env)
    session_id = first.args[1].decode()
    assert first.args == [b"--session-id", *first.args[1:2], *map(os.fsencode, args), b"-p"]
    world.transcript(session_id)
    store = world.store.read_bytes()

    second = world.call(*args, "-p", env=env)

    assert second.args == [b"--resume", *first.args[1:]]
    assert len(world.store.read_bytes()) == len(store)
    assert_valid(world)
    return session_id


def assert_valid(world: World) -> None:
    """The store is UTF-8 JSON whose strings are Unicode text: what serde_json accepts."""
    for room, agents in world.mappings.items():
        room.encode()
        for agent in agents:
            agent.encode()


@pytest.mark.parametrize("locale", LOCALES)
@odd_names
def test_a_room_of_any_name_is_remembered(world: World, name: bytes, locale: str) -> None:
    session_id = remembered(world, NSED_ROOM_ID=name, LC_ALL=locale)

    assert [*world.mappings.values()] == [{"claude": session_id}]
    for call in world.claude.calls:
        assert call.variable("NSED_ROOM_ID") == name


@pytest.mark.parametrize("locale", LOCALES)
@odd_names
def test_an_agent_of_any_name_is_remembered(world: World, name: bytes, locale: str) -> None:
    remembered(world, NSED_ROOM_ID="r", NSED_AGENT_NAME=name, LC_ALL=locale)

    for call in world.claude.calls:
        assert call.variable("NSED_AGENT_NAME") == name


@pytest.mark.parametrize("locale", LOCALES)
@odd_names
def test_an_agent_named_on_the_command_line_is_remembered_and_exported(
    world: World, name: bytes, locale: str
) -> None:
    on_command_line = remembered(world, "--agent", name, NSED_ROOM_ID="r", LC_ALL=locale)

    for call in world.claude.calls:
        assert call.variable("NSED_AGENT_NAME") == name
    # The same agent, named the other way, is in the same conversation.
    named = world.call("-p", env={"NSED_ROOM_ID": "r", "NSED_AGENT_NAME": name})
    assert named.args == [b"--resume", on_command_line.encode(), b"-p"]


@pytest.mark.parametrize("locale", LOCALES)
def test_names_that_differ_in_any_byte_are_different_conversations(
    world: World, locale: str
) -> None:
    names: list[bytes] = [b"r", b"R", b" r", b"r ", b"r\n", b"caf\xe9", b"caf\xe8", b"caf\xe9\xe8"]
    names += [
        "café".encode(),
        "cafe\u0301".encode(),
        b"r\xff",
        b"r\xfe",
        b"rff",
        b"\xff\xfe",
        b"\xfe\xff",
    ]

    calls = [world.call("-p", env={"NSED_ROOM_ID": name, "LC_ALL": locale}) for name in names]

    assert len({call.args[1] for call in calls}) == len(names)
    assert len(world.mappings) == len(names)
    assert_valid(world)


@odd_names
def test_a_room_is_the_same_under_every_locale(world: World, name: bytes) -> None:
    ids = {
        world.call("-p", env={"NSED_ROOM_ID": name, **locale}).args[1]
        for locale in ({}, {"LANG": "C"}, {"LC_ALL": "C.UTF-8"}, {"LC_ALL": "xx_YY"})
    }
    assert len(ids) == 1


def test_names_that_are_text_stand_in_the_store_as_they_are(world: World) -> None:
    room, agent = 'réf 🙂\n"', "../a\tb"
    world.call("-p", env={"NSED_ROOM_ID": room, "NSED_AGENT_NAME": agent})
    assert [*world.mappings] == [room]
    assert [*world.mappings[room]] == [agent]
