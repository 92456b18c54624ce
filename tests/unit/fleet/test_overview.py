"""What a sync daemon says, as subcommands see it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shim.fleet import overview
from tests.support.daemon import THIS, SyncDaemon, following, room, running

U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
V = "7f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c12"
# 2026-01-02T03:04:05Z
STAMP = 1767323045.0


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SyncDaemon]:
    with SyncDaemon(tmp_path) as standing_in:
        yield standing_in


def test_rooms_say_which_host_had_them_last(daemon: SyncDaemon, tmp_path: Path) -> None:
    daemon.rooms = [room("r", U, earlier=[V]), room("mine", V, host=THIS)]

    found = overview.rooms(str(tmp_path))

    assert found["r", "claude"] == overview.Room("r", "claude", U, "build-7", False, STAMP, (V,))
    assert found["mine", "claude"].is_here


def test_a_fleet_that_is_away_says_why(daemon: SyncDaemon, tmp_path: Path) -> None:
    daemon.answers["rooms"] = {"answer": "alone", "why": "nobody answers at nats://x:1"}

    with pytest.raises(overview.Alone, match="nobody answers"):
        overview.rooms(str(tmp_path))


def test_what_is_not_sent_yet_is_added_up(daemon: SyncDaemon, tmp_path: Path) -> None:
    daemon.here = [following("r", U, behind=100, pid=9), following("s", V, behind=20)]
    daemon.elsewhere = [running("t", V)]

    status = overview.status(str(tmp_path))

    assert status.behind == 120
    assert status.elsewhere == (
        overview.RemoteClaude("t", "claude", V, "build-7", 17, "one-shot", STAMP),
    )


def test_a_head_is_moved_and_a_conversation_deleted(daemon: SyncDaemon, tmp_path: Path) -> None:
    overview.move_head(str(tmp_path), "r", "claude", U)
    overview.delete(str(tmp_path), V)

    assert [(each["request"], each["session_id"]) for each in daemon.asked] == [
        ("head", U),
        ("drop", V),
    ]
