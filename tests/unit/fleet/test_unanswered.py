"""Questions that no daemon has answered are kept, and taken by the next one."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest

from shim.fleet import daemon_client, protocol, unanswered

if TYPE_CHECKING:
    from pathlib import Path

FIELDS = {"room": "r", "agent": "a", "pid": 1, "session_id": "x", "transcript": "/t"}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("posix.environ", {b"NSED_FLEET_URL": b"nats://h"})
    return str(tmp_path)


def kept(store: str) -> list[dict[str, object]]:
    return [protocol.decode(line) for _, line, _ in unanswered.all_kept(store)]


def test_a_call_without_a_daemon_leaves_its_question_for_this_user_alone(store: str) -> None:
    with pytest.raises(daemon_client.Unanswered):
        daemon_client.ask(store, "begin", starts=False, **FIELDS)

    (question,) = kept(store)
    assert (question["request"], question["fleet"]) == ("begin", "nats://h")
    assert question.items() >= FIELDS.items()
    ((path, _, _),) = unanswered.all_kept(store)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700


@pytest.mark.parametrize("request_", ["status", "rooms", "head", "drop", "stop"])
def test_what_tells_of_no_turn_is_not_kept(store: str, request_: str) -> None:
    with pytest.raises(daemon_client.Unanswered):
        daemon_client.ask(store, request_, starts=False)

    assert kept(store) == []


@pytest.mark.parametrize("is_noted", [True, False])
def test_what_the_daemon_has_noted_is_not_kept(
    store: str, monkeypatch: pytest.MonkeyPatch, is_noted: bool
) -> None:
    answer = {"answer": "alone", "why": "x"} | ({"is_noted": True} if is_noted else {})
    monkeypatch.setattr(daemon_client, "_ask", lambda *_: answer)

    daemon_client.ask(store, "flush", **FIELDS)

    assert len(kept(store)) == (not is_noted)


def test_they_are_taken_in_the_order_in_which_they_were_asked(store: str) -> None:
    for number in range(12):
        unanswered.keep(store, protocol.encode({"number": number}))

    assert [each["number"] for each in kept(store)] == list(range(12))


def test_where_none_was_ever_kept_there_is_none(store: str) -> None:
    assert (kept(store), unanswered.changed_at(store)) == ([], 0)
