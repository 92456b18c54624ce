"""The pair (room, agent) as text and bytes, and the session ids: derived, new and recognised."""

import uuid

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shim.base import session_key
from shim.base.session_key import SessionKey


def test_a_key_has_the_bytes_it_was_given() -> None:
    key = SessionKey(b"caf\xe9", "é".encode())
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
