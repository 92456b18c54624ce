"""The sync daemon of a store: one process, this user's alone, which the first call starts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from shim.fleet import daemon_client, sync_daemon
from tests.process.call.test_imports import FORBIDDEN, imported
from tests.process.fleet.conftest import daemon_of
from tests.support.recorder import World, derived, wait_until

if TYPE_CHECKING:
    from tests.support.nats import NatsServer


def store_of(world: World) -> str:
    return str(world.store.parent)


def status_of(world: World) -> dict[str, Any]:
    return daemon_client.ask(store_of(world), "status", starts=False)


def test_the_first_call_starts_it_and_the_next_ones_find_it(member: World) -> None:
    member.call("-p", "hi")
    first = daemon_of(member)
    member.call("-p", "hi")

    assert first is not None
    assert daemon_of(member) == first
    assert daemon_client.ask(store_of(member), "status", starts=False)["pid"] == first


def test_of_many_first_calls_at_once_one_starts_it(member: World) -> None:
    running = [
        member.start("-p", "hi", env={"NSED_AGENT_NAME": f"agent {n}"}, stdout=subprocess.DEVNULL)
        for n in range(6)
    ]
    complaints = b"".join(process.communicate(timeout=60)[1] for process in running)
    assert b"claude-shim" not in complaints
    pid = daemon_client.ask(store_of(member), "status", starts=False)["pid"]
    assert pid == daemon_of(member)


def test_nobody_else_can_use_it_or_read_what_it_keeps(member: World) -> None:
    member.call("-p", "hi")
    paths = [member.store.parent, *member.store.parent.rglob("*")]
    open_to_others = [it for it in paths if stat.S_IMODE(it.lstat().st_mode) & 0o077]
    assert [it for it in open_to_others if not it.is_symlink()] == []


def test_another_user_is_refused_on_either_side(
    member: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    member.call("-p", "hi")
    monkeypatch.setattr(daemon_client, "peer_of", lambda _: os.geteuid() + 1)
    with pytest.raises(daemon_client.Unanswered, match="another user's"):
        daemon_client.ask(store_of(member), "status", starts=False)


def test_one_that_is_killed_is_started_again_by_the_next_call(member: World) -> None:
    member.call("-p", "hi")
    killed = daemon_of(member) or 0
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: daemon_of(member) is None)

    member.call("-p", "hi")

    assert daemon_of(member) not in (None, killed)


def test_one_that_hangs_costs_half_a_second_and_a_warning(member: World) -> None:
    member.call("-p", "hi")
    os.kill(daemon_of(member) or 0, signal.SIGSTOP)

    run = member.run("-p", "hi")

    assert run.exit_code == 0
    assert run.warning == (
        "claude-shim: running without the fleet: the sync daemon does not answer:"
        " `claude-shim fleet stop` ends it"
    )
    assert len(member.claude.calls) == 2


def test_it_is_found_where_the_stores_path_is_too_long_for_a_sockets(member: World) -> None:
    deep = member.root / ("x" * 120) / ("y" * 120)
    member.environment["NSED_SESSION_DIR"] = str(deep)

    member.call("-p", "hi")

    status = daemon_client.ask(str(deep), "status", starts=False)
    os.kill(status["pid"], signal.SIGKILL)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"\n", "the sync daemon does not understand"),
        (b"not json\n", "the sync daemon does not understand"),
        (b"[1]\n", "the sync daemon does not understand"),
        (b'{"version":1,"request":"begin"}\n', "the sync daemon does not understand"),
        (b'{"version":1,"request":"flush","event":1}\n', "the sync daemon does not understand"),
        (b'{"version":"1","request":"status"}\n', "the sync daemon does not understand"),
        (b'{"version":0,"request":"status"}\n', "the sync daemon is of a newer claude-shim"),
        (b'{"version":1,"request":"dance"}\n', "the sync daemon does not understand"),
    ],
)
def test_what_it_cannot_answer_it_says(member: World, line: bytes, why: str) -> None:
    member.call("-p", "hi")
    with socket.socket(socket.AF_UNIX) as connection:
        os.chdir(store_of(member))
        connection.connect("courier")
        connection.sendall(line)
        answers = connection.makefile("rb").read().splitlines()

    assert json.loads(answers[0]) == {"answer": "wait"}
    assert json.loads(answers[-1])["answer"] == "alone"
    assert why in json.loads(answers[-1])["why"]


def test_one_that_is_idle_is_replaced_where_a_call_has_another_configuration(
    member: World, nats_server: NatsServer
) -> None:
    member.call("-p", "hi")
    wait_until(lambda: status_of(member)["conversations"] == [])
    before = daemon_of(member)
    member.environment["NSED_FLEET_URL"] = f"{nats_server.url},"

    run = member.run("-p", "hi")

    assert (run.exit_code, run.stderr) == (0, b"")
    assert daemon_of(member) not in (None, before)


def test_one_that_follows_a_claude_stays_and_says_which_variable_differs(member: World) -> None:
    member.call("-p", "hi")
    session_id = str(uuid.uuid4())
    ours = {
        "room": "other",
        "agent": "claude",
        "pid": os.getpid(),
        "kind": "interactive",
        "session_id": session_id,
        "transcript": str(member.transcript(session_id)),
        "is_chosen": True,
        "moves_head": False,
        "waits": 0,
    }
    assert daemon_client.ask(store_of(member), "begin", starts=False, **ours)["answer"] == "granted"

    answer = daemon_client.ask(store_of(member), "rooms", starts=False, key_file="/other")

    assert answer["answer"] == "alone"
    assert "has another NSED_FLEET_KEY_FILE" in answer["why"]


def test_a_turn_of_a_call_that_found_no_daemon_is_sent_later(member: World) -> None:
    member.call("-p", "hi")
    wait_until(lambda: status_of(member)["conversations"] == [])
    transcript = member.transcript(derived("r"))
    os.kill(daemon_of(member) or 0, signal.SIGSTOP)
    assert "does not answer" in member.run("-p", "hi").warning
    kept = member.store.parent / "fleet" / "unanswered"
    assert len(list(kept.iterdir())) == 1

    os.kill(daemon_of(member) or 0, signal.SIGCONT)

    wait_until(lambda: not list(kept.iterdir()))
    wait_until(lambda: status_of(member)["conversations"] == [])
    note = json.loads((kept.parent / f"{derived('r')}.json").read_text())
    assert note["tails"][""]["size"] == transcript.stat().st_size


def test_a_stop_ends_it(member: World) -> None:
    member.call("-p", "hi")
    assert daemon_client.ask(store_of(member), "stop", starts=False) == {"answer": "done"}
    wait_until(lambda: daemon_of(member) is None)
    assert not (member.store.parent / "courier").exists()


def is_deleted(directory: Path) -> bool:
    """Whether it is now; a sync daemon may be writing there meanwhile."""
    shutil.rmtree(directory, ignore_errors=True)
    return not directory.exists()


def test_one_whose_store_was_deleted_ends(member: World) -> None:
    member.call("-p")
    pid = daemon_of(member)
    assert pid
    wait_until(lambda: is_deleted(Path(store_of(member))))
    wait_until(lambda: not psutil.pid_exists(pid))


def test_a_second_one_ends_at_once(member: World) -> None:
    member.call("-p", "hi")
    second = [
        sys.executable,
        "-c",
        "from shim.fleet.sync_daemon import main; main()",
        store_of(member),
    ]
    done = subprocess.run(
        second, timeout=30, check=False, cwd=Path(sync_daemon.__file__).parents[2]
    )
    assert done.returncode == 0
    assert daemon_client.ask(store_of(member), "status", starts=False)["pid"] == daemon_of(member)


def test_a_call_in_a_fleet_imports_nothing_heavy(member: World) -> None:
    member.map("r", "claude", derived("r"))
    member.transcript(derived("r"))
    member.call("-p", "hi")

    modules = imported(member, "-p", "hi")

    assert "shim.fleet.daemon_client" in modules
    heavy = {"asyncio", "nats", "socket", "selectors", "os"}
    assert not {name.partition(".")[0] for name in modules} & (FORBIDDEN | heavy)


def test_a_call_whose_server_is_away_does_not_wait_for_it(
    member: World, nats_server: NatsServer
) -> None:
    member.call("-p", "hi")
    nats_server.kill()
    wait_until(
        lambda: (
            not daemon_client.ask(store_of(member), "status", starts=False)["engine"][
                "is_reachable"
            ]
        )
    )
    started = time.monotonic()

    run = member.run("-p", "hi")

    assert "no NATS server answers at" in run.warning
    assert time.monotonic() - started < 20
    assert shutil.which("claude", path=str(member.launcher.parent))


def test_a_head_that_moved_while_the_server_was_away_is_the_fleets_later(
    member: World, nats_server: NatsServer
) -> None:
    member.call("-p", "hi")
    nats_server.kill()
    moved = str(uuid.uuid4())
    transcript = member.transcript(moved)
    event = json.dumps({"session_id": moved, "transcript_path": str(transcript)}).encode()
    told = {"room": "r", "agent": "claude", "pid": os.getpid(), "event": event}
    assert daemon_client.ask(store_of(member), "link", **told)["answer"] == "alone"

    nats_server.start()

    def heads() -> list[str]:
        answer = daemon_client.ask(store_of(member), "rooms", starts=False)
        return [room["session_id"] for room in answer.get("rooms", ())]

    wait_until(lambda: heads() == [moved])
