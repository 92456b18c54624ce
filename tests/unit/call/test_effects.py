"""What a call does to the world before it becomes claude."""

import os
from pathlib import Path

import pytest

from shim.base.messages import Failure
from shim.base.session_key import SessionKey
from shim.call import effects
from shim.call.call import Call
from shim.call.effects import Effects
from shim.claude import invocation
from shim.locks.record_lock import ACQUIRED


def test_in_a_store_that_is_to_be_left_alone_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: str) -> None:
        raise Failure(f"{path} belongs to another user")

    monkeypatch.setattr(effects, "leave_to_its_owner", refuse)
    monkeypatch.setattr(effects, "directory", lambda: str(tmp_path))
    key = SessionKey(b"r", b"a")

    its = Effects("plugin")
    its.sessions.cli_spec("/bin/true")
    call = Call(key, invocation.read(["-p"]))
    its.locks.acquire_key(call)
    assert call.outcome == ACQUIRED
    assert its.sessions.recall(key) is None
    its.sessions.record(key, "e02e610b-76e2-53bd-9543-ea295dd26fc7")
    its.retention.housekeep()

    assert os.listdir(tmp_path) == []
    assert capsys.readouterr().err == (
        f"claude-shim: {tmp_path} belongs to another user; this conversation is not recorded\n"
    )
