"""Which room and agent a call belongs to, and which session id they derive."""

import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.base import session_key
from shim.base.session_key import SessionKey
from shim.call import identity

ROOM, AGENT = b"NSED_ROOM_ID", b"NSED_AGENT_NAME"


@pytest.mark.parametrize(
    ("environ", "agent_option", "expected"),
    [
        # neither
        ({}, None, None),
        ({}, b"", None),
        ({ROOM: b""}, None, None),
        ({AGENT: b""}, None, None),
        ({ROOM: b"", AGENT: b""}, b"", None),
        # a room alone has the usual agent
        ({ROOM: b"r"}, None, ("r", "claude")),
        ({ROOM: b"r"}, b"", ("r", "claude")),
        ({ROOM: b"r", AGENT: b""}, None, ("r", "claude")),
        # an agent alone has the empty room
        ({AGENT: b"a"}, None, ("", "a")),
        ({ROOM: b"", AGENT: b"a"}, None, ("", "a")),
        ({}, b"o", ("", "o")),
        ({ROOM: b"", AGENT: b""}, b"o", ("", "o")),
        # both, and the variable before the option
        ({ROOM: b"r", AGENT: b"a"}, None, ("r", "a")),
        ({ROOM: b"r"}, b"o", ("r", "o")),
        ({ROOM: b"r", AGENT: b""}, b"o", ("r", "o")),
        ({ROOM: b"r", AGENT: b"a"}, b"o", ("r", "a")),
        ({AGENT: b"a"}, b"o", ("", "a")),
        # blanks and a zero are names
        ({ROOM: b" ", AGENT: b"0"}, None, (" ", "0")),
    ],
)
def test_a_call_belongs_to_the_room_and_agent_of_the_first_source_that_names_them(
    environ: dict[bytes, bytes], agent_option: bytes | None, expected: tuple[str, str] | None
) -> None:
    key = identity.resolve(environ, agent_option)
    assert (key and (key.room, key.agent)) == expected


@pytest.mark.parametrize(
    ("environ", "agent_option", "opencode", "expected"),
    [
        ({}, None, (b"oc-ses_1", b"build"), ("oc-ses_1", "build")),
        ({}, None, (b"oc-ses_1", b""), ("oc-ses_1", "claude")),
        ({}, b"o", (b"oc-ses_1", b"build"), ("oc-ses_1", "o")),
        ({}, b"", (b"oc-ses_1", b"build"), ("oc-ses_1", "build")),
        ({}, b"o", None, ("", "o")),
    ],
)
def test_an_opencode_around_the_call_names_the_room_and_after_the_option_the_agent(
    environ: dict[bytes, bytes],
    agent_option: bytes | None,
    opencode: tuple[bytes, bytes] | None,
    expected: tuple[str, str],
) -> None:
    assert identity.is_possible(environ, [], opencode) == (opencode is not None)
    key = identity.resolve(environ, agent_option, opencode)
    assert (key and (key.room, key.agent)) == expected


@pytest.mark.parametrize(
    "environ",
    [{}, {b"OPENCODE": b"0"}, {ROOM: b"r"}, {AGENT: b"a"}],
    ids=["no OpenCode", "OPENCODE=0", "a room", "an agent"],
)
def test_ancestors_are_asked_only_under_opencode_without_the_variables(
    environ: dict[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shim.opencode.command_line.conversation", lambda: pytest.fail("asked"))
    with_a_name = {b"OPENCODE": b"1", **environ} if ROOM in environ or AGENT in environ else environ
    assert identity.around(with_a_name) is None


def test_a_key_has_the_bytes_it_was_given() -> None:
    key = identity.resolve({ROOM: b"caf\xe9", AGENT: "é".encode()}, None)
    assert key is not None
    assert (key.room_bytes, key.agent_bytes) == (b"caf\xe9", "é".encode())


@given(st.text(st.characters(codec="utf-8")))
def test_a_name_in_utf8_is_that_text(name: str) -> None:
    assert SessionKey(name.encode(), b"a").room == name


@given(st.binary(), st.binary())
@example(b"\xff", b"\xfe")
@example(b"\xff", b"ff")
@example(b"\xed\xa0\x80", b"\xed\xa0\x81")
@example("🙂".encode()[:3], "🙂".encode()[:2])
def test_names_that_differ_in_their_bytes_are_different_texts(one: bytes, other: bytes) -> None:
    key = SessionKey(one, other)
    assert (key.room == key.agent) == (one == other)


@given(st.binary())
def test_any_name_is_text_that_json_can_hold(name: bytes) -> None:
    SessionKey(name, b"a").room.encode()


@pytest.mark.parametrize(
    ("room", "agent", "derived"),
    [
        ("refactor", "alice", "415cdce4-ad06-5566-a2df-df70848a58ac"),
        ("", "claude", "7ca2df2f-6720-508f-b8b1-2e8adc0d6b43"),
        ("oc-ses_dfc1f5de2ffe6xXUPOtEumJiyo", "claude", "bda53ed2-8862-5ca7-a900-a86db6a71569"),
    ],
)
def test_a_key_derives_the_id_it_always_has(room: str, agent: str, derived: str) -> None:
    assert session_key.derive(SessionKey(room.encode(), agent.encode())) == derived


@given(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8"), min_size=1))
@example("", "claude")
@example("a/b", "c")
@example("b", "c/a")
@example("../..", "🙂\n")
def test_a_key_derives_the_id_that_nsed_derives(room: str, agent: str) -> None:
    name = f"nsed://agent/{agent}/{room}" if room else f"nsed://agent/{agent}"
    key = SessionKey(room.encode(), agent.encode())
    assert session_key.derive(key) == str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def test_new_session_ids_are_random_uuids() -> None:
    new = [uuid.UUID(session_key.new_session_id()) for _ in range(100)]
    assert len(set(new)) == 100
    assert {(one.version, one.variant) for one in new} == {(4, uuid.RFC_4122)}


@given(st.uuids())
def test_any_uuid_is_a_session_id(session_id: uuid.UUID) -> None:
    assert session_key.is_session_id(str(session_id))
    assert session_key.is_session_id(str(session_id).upper())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-",
        "----",
        "x",
        "4de1c5c9",
        "4de1c5c97b4d5ebcae81a0ca30a38a92",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a9",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a922",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a9g",
        "4de1c5c9-7b4d5-ebc-ae81-a0ca30a38a92",
        "{4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92}",
        "urn:uuid:4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92\n",
        " 4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92-",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30a3x a9",
        "4de1c5c9-7b4d-5ebc-ae81-a0ca30 38a92",
        "４de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92",
        "/elsewhere/4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92.jsonl",
    ],
)
def test_anything_else_is_no_session_id(text: str) -> None:
    assert not session_key.is_session_id(text)


@given(st.text("0123456789abcdefgABCDEFG- \n", max_size=40))
def test_a_session_id_is_what_the_uuid_module_reads_back_unchanged(text: str) -> None:
    if session_key.is_session_id(text):
        assert str(uuid.UUID(text)) == text.lower()
