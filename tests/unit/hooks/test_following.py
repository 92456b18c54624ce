"""The hook's rules, and the conversations that a room and agent had before."""

import json
import os
import posix
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.hooks import following
from shim.store import history
from shim.store.store import Store

U, V, W = (f"00000000-0000-4000-8000-00000000000{n}" for n in range(3))


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A store where the room's head is U, its claude having been started on U."""
    monkeypatch.setenv("NSED_SESSION_DIR", str(tmp_path))
    monkeypatch.setenv("NSED_ROOM_ID", "r")
    monkeypatch.setenv("NSED_AGENT_NAME", "a")
    monkeypatch.setattr(following, "_started_on", lambda: U)
    sessions = Store(str(tmp_path))
    sessions.record("r", "a", U)
    return sessions


def event(name: str, session_id: object, **more: str) -> bytes:
    return json.dumps({"hook_event_name": name, "session_id": session_id, **more}).encode()


@pytest.mark.parametrize(
    ("account", "head"),
    [
        (event("UserPromptSubmit", V), V),
        (event("UserPromptSubmit", U), U),
        (event("SessionEnd", V, reason="prompt_input_exit"), V),
        (event("SessionEnd", V, reason="other"), V),
        (event("SessionEnd", V, reason="clear"), U),
        (event("SessionEnd", U, reason="other"), U),
        (event("Stop", V), U),
        (event("UserPromptSubmit", "not-a-uuid"), U),
        (event("UserPromptSubmit", "../" + V), U),
        (event("UserPromptSubmit", 5), U),
        (event("UserPromptSubmit", None), U),
        (b"[]", U),
        (b'"' + V.encode() + b'"', U),
    ],
)
def test_the_head_follows_turns_and_what_was_left_without_one(
    sessions: Store, account: bytes, head: str
) -> None:
    following.follow(account)
    assert sessions.get("r", "a") == head


@pytest.mark.parametrize("account", [b"", b"{", b"\xff", event("UserPromptSubmit", V)[:-1]])
def test_what_is_no_json_moves_nothing(sessions: Store, account: bytes) -> None:
    with pytest.raises((json.JSONDecodeError, UnicodeDecodeError)):
        following.follow(account)
    assert sessions.get("r", "a") == U


values = st.recursive(
    st.none() | st.integers() | st.sampled_from([U, "session_id", '"session_id":', "\\u0041", "é"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.just("session_id"), inner),
    max_leaves=4,
)
members = st.tuples(st.sampled_from(["session_id", "prompt", "ſession_id"]), values)


@settings(max_examples=500, deadline=None)
@given(members=st.lists(members), spaced=st.booleans(), escaped=st.booleans(), data=st.data())
def test_a_session_id_read_without_a_parse_is_the_one_a_parse_gives(
    members: list[tuple[str, Any]], spaced: bool, escaped: bool, data: st.DataObject
) -> None:
    comma, colon = (", ", ": ") if spaced else (",", ":")
    text = comma.join(
        json.dumps(name, ensure_ascii=escaped)
        + colon
        + json.dumps(value, ensure_ascii=escaped, separators=(comma, colon))
        for name, value in members
    )
    account = "{" + text + "}"
    at = data.draw(st.integers(0, len(account)))
    edit = data.draw(
        st.sampled_from(["", " ", "\n", '"', "\\u0073", "\ufeff", f'"session_id":"{V}",'])
    )
    account = account[:at] + edit + account[at:].replace("s", "\\u0073", len(edit) % 2)
    try:
        event = json.loads(account)
    except ValueError:
        return
    named = following._named_first(account.encode())
    assert named is None or named == event["session_id"]


def test_an_account_that_starts_with_its_session_id_is_read_without_a_parse() -> None:
    account = json.dumps({"session_id": U, "prompt": 'print("session_id")\n'})
    assert following._named_first(account.encode()) == U


def test_the_end_of_a_conversation_that_had_a_turn_moves_nothing(sessions: Store) -> None:
    following.follow(event("UserPromptSubmit", V))
    following.follow(event("UserPromptSubmit", W))
    following.follow(event("SessionEnd", V, reason="other"))
    assert sessions.get("r", "a") == W


def test_the_end_of_a_claude_started_on_it_moves_nothing(
    sessions: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "_started_on", lambda: V)
    following.follow(event("SessionEnd", V, reason="other"))
    assert sessions.get("r", "a") == U


def test_without_a_room_and_an_agent_nothing_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NSED_SESSION_DIR", str(tmp_path))
    monkeypatch.delitem(posix.environ, b"NSED_ROOM_ID", raising=False)
    monkeypatch.delitem(posix.environ, b"NSED_AGENT_NAME", raising=False)
    following.follow(event("UserPromptSubmit", V))
    assert os.listdir(tmp_path) == []


def test_earlier_heads_are_kept_in_their_order(sessions: Store) -> None:
    for session_id in (V, W, U):
        sessions.record("r", "a", session_id)
    assert uuids(sessions) == [U, V, W]


def uuids(sessions: Store, agent: str = "a") -> list[str]:
    return [line["uuid"] for line in history.earlier(sessions.directory, "r", agent)]


def entry(number: int) -> dict[str, Any]:
    return {"uuid": f"id-{number}", "last_used": "2026-01-01T00:00:00Z"}


def test_the_last_twenty_of_each_key_are_kept(tmp_path: Path) -> None:
    history.remember(str(tmp_path), "other", "a", entry(0))
    for number in range(25):
        history.remember(str(tmp_path), "r", "a", entry(number))
    assert uuids(Store(str(tmp_path))) == [f"id-{number}" for number in range(5, 25)]
    assert len(history.earlier(str(tmp_path), "other", "a")) == 1
    assert os.stat(tmp_path / "history.jsonl").st_mode & 0o777 == 0o600


def test_a_line_that_was_never_finished_costs_only_itself(tmp_path: Path) -> None:
    history.remember(str(tmp_path), "r", "a", entry(0))
    path = tmp_path / "history.jsonl"
    path.write_text(path.read_text() + '{"room": "r", "agent": "a", "uu')
    history.remember(str(tmp_path), "r", "a", entry(1))
    assert uuids(Store(str(tmp_path))) == ["id-0", "id-1"]
