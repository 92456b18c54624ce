"""What subcommands say and do where a fleet is configured, with a stand-in for the sync daemon."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from shim.fleet import daemon_client
from tests.process.commands.test_schemas import validate
from tests.support.claude_shim import ask, printed, refused
from tests.support.daemon import THIS, SyncDaemon, following, room, running
from tests.support.recorder import PATIENCE, World, derived
from tests.support.rooms import U, V, W, entry, live, store, transcript

AWAY = {"answer": "alone", "why": "nobody answers at 10.0.0.5:4222"}


@pytest.fixture
def daemon(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[SyncDaemon]:
    """The sync daemon of a host that is in a fleet, with all the time it may need to answer."""
    monkeypatch.setattr(daemon_client, "_ACKNOWLEDGES_WITHIN", PATIENCE)
    world.environment["NSED_FLEET_URL"] = "nats://10.0.0.5:4222"
    with SyncDaemon(world.store.parent) as standing_in:
        yield standing_in


def rows(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def changes(daemon: SyncDaemon) -> list[tuple[str, str, str]]:
    """What the fleet was told to change: the request, the room, and the conversation."""
    return [
        (each["request"], each["room"], each["session_id"])
        for each in daemon.asked
        if each["request"] not in ("status", "rooms")
    ]


def test_list_has_the_rooms_of_all_hosts_and_who_had_them(world: World, daemon: SyncDaemon) -> None:
    store(world, {"mine": {"claude": entry(U)}, "ours": {"claude": entry(V)}})
    transcript(world, U)
    daemon.rooms = [room("mine", U, host=THIS), room("ours", W), room("theirs", V)]
    daemon.elsewhere = [running("theirs", V)]

    header, *found = rows(printed(world, "list", "--sort", "room"))

    assert (header[0], header[-1]) == ("ROOM", "HOST")
    assert [(it[0], it[2], it[4], it[-1]) for it in found] == [
        ("mine", U, "-", "here"),
        ("ours", W, "-", "build-7"),
        ("theirs", V, "one-shot on build-7", "build-7"),
    ]
    assert [it[7] for it in found][1:] == ["on build-7", "on build-7"]


def test_json_has_the_host_too(world: World, daemon: SyncDaemon) -> None:
    daemon.rooms = [room("mine", U, host=THIS), room("theirs", V)]
    daemon.elsewhere = [running("theirs", V)]

    listed = json.loads(printed(world, "list", "--json"))
    shown = json.loads(printed(world, "show", "theirs", "--json"))
    ran = json.loads(printed(world, "ps", "--json"))

    validate("list", listed)
    validate("show", shown)
    validate("ps", ran)
    assert [each["host"] for each in listed if each["live"]] == ["build-7"]
    assert [each["host"] for each in (*shown, *ran)] == ["build-7", "build-7"]


def test_list_works_where_the_fleet_is_unavailable(world: World, daemon: SyncDaemon) -> None:
    store(world, {"mine": {"claude": entry(U)}})
    transcript(world, U)
    daemon.answers["rooms"] = AWAY

    run = ask(world, "list")

    assert run.warning == (
        "claude-shim: the fleet cannot be asked (nobody answers at 10.0.0.5:4222): this is"
        " what is known here"
    )
    assert run.stdout.splitlines()[1].startswith(b"mine\t")


def test_without_a_fleet_nothing_has_a_host(world: World) -> None:
    store(world, {"mine": {"claude": entry(U)}})
    transcript(world, U)

    assert "HOST" not in printed(world, "list")
    assert "host" not in json.loads(printed(world, "list", "--json"))[0]
    assert "Host" not in printed(world, "show", "mine")


def test_show_says_that_a_conversation_is_elsewhere(world: World, daemon: SyncDaemon) -> None:
    daemon.rooms = [room("theirs", V)]
    daemon.elsewhere = [running("theirs", V, kind="interactive")]

    said = printed(world, "show", "theirs")

    assert "Live        interactive, claude 17 on build-7, for " in said
    assert "Host        build-7\n" in said
    assert "Transcript  on another host: the next call fetches it\n" in said


def test_what_other_hosts_parted_from_is_shown_and_linked_to(
    world: World, daemon: SyncDaemon
) -> None:
    daemon.rooms = [room("r", U, earlier=[V])]

    said = printed(world, "show", "r")
    (shown,) = json.loads(printed(world, "show", "r", "--json"))
    linked = printed(world, "link", "r", V[:6])

    assert f"Earlier     {V}, no transcript, from the fleet\n" in said
    assert [each["session_id"] for each in shown["earlier"]] == [V]
    assert "the next call fetches it from the fleet" in linked
    assert changes(daemon) == [("head", "r", V)]


def test_ps_has_other_hosts_claudes_and_who_was_fenced(world: World, daemon: SyncDaemon) -> None:
    store(world, {"mine": {"claude": entry(U)}})
    daemon.elsewhere = [running("theirs", V)]
    with live(world, "mine") as pid:
        daemon.here = [following("mine", U, pid=pid, is_fenced=True, fork=W)]
        _, mine, theirs = rows(printed(world, "ps"))

    assert (mine[0], mine[3], mine[-1]) == ("mine", "interactive, fenced", "here")
    assert (theirs[0], theirs[2], theirs[-1]) == ("theirs", "17", "build-7")


def test_ps_says_what_the_fleet_does_not_have(world: World, daemon: SyncDaemon) -> None:
    daemon.here = [following("mine", U, behind=1234)]
    daemon.failed = [
        {"room": "r", "agent": "a", "session_id": V, "when": "2026-01-02T03:04:05Z", "why": "away"}
    ]

    lines = ask(world, "ps").lines

    assert "room 'mine', agent 'claude': 1.2 kB are not in the fleet yet" in lines
    assert "room 'r', agent 'a': an answer was seen before the fleet had it (away)" in lines


def test_forget_means_every_host(world: World, daemon: SyncDaemon) -> None:
    daemon.rooms = [room("r", U)]

    said = printed(world, "forget", "r")

    ((request, where, new),) = changes(daemon)
    assert (request, where) == ("head", "r")
    assert new not in (U, derived("r"))
    assert world.mappings["r"] == {"claude": new}
    assert "its next call, on whichever host, starts a new conversation" in said


def test_forget_asks_first_where_another_host_has_it(world: World, daemon: SyncDaemon) -> None:
    daemon.rooms = [room("r", U)]
    daemon.elsewhere = [running("r", U, kind="interactive")]

    said = refused(world, "forget", "r", exit_code=75)

    assert said.startswith("claude 17 on build-7 (interactive) is live on room 'r'")
    assert changes(daemon) == []


@pytest.mark.parametrize("command", [["forget", "r"], ["link", "r", U], ["delete", "r", "--yes"]])
def test_nothing_is_changed_here_alone(
    world: World, daemon: SyncDaemon, command: list[str]
) -> None:
    store(world, {"r": {"claude": entry(V)}})
    transcript(world, U)
    transcript(world, V)
    daemon.answers["rooms"] = AWAY

    said = refused(world, *command)

    assert said.startswith("the fleet cannot be asked (nobody answers at")
    assert world.mappings == {"r": {"claude": V}}


def test_link_means_every_host(world: World, daemon: SyncDaemon) -> None:
    daemon.rooms = [room("r", V)]
    transcript(world, U)

    printed(world, "link", "r", U)

    assert changes(daemon) == [("head", "r", U)]
    assert world.mappings == {"r": {"claude": U}}


def test_delete_takes_it_from_the_servers_and_lets_no_host_go_on(
    world: World, daemon: SyncDaemon
) -> None:
    store(world, {"r": {"claude": entry(U)}})
    transcript(world, U)
    daemon.rooms = [room("r", U, earlier=[V])]

    printed(world, "delete", "r", "--yes")

    (first, _, deleted), (second, _, new), (third, _, earlier) = changes(daemon)
    assert (first, second, third) == ("drop", "head", "drop")
    assert (deleted, earlier) == (U, V)
    assert new not in (U, V, derived("r"))


def test_what_another_host_has_open_is_not_deleted(world: World, daemon: SyncDaemon) -> None:
    store(world, {"r": {"claude": entry(U)}})
    transcript(world, U)
    daemon.rooms = [room("r", U)]
    daemon.elsewhere = [running("r", U)]

    said = refused(world, "delete", "r", "--yes", exit_code=75)

    assert "on build-7" in said
    assert changes(daemon) == []


def test_prune_says_what_the_fleet_still_has(world: World, daemon: SyncDaemon) -> None:
    store(world, {"r": {"claude": entry(U)}, "s": {"claude": entry(V)}})
    daemon.rooms = [room("r", U)]

    said = printed(world, "prune", "--older-than", "1d", "--yes")

    assert "The fleet still has 1 mapping of these: a call resumes it.\n" in said
    assert changes(daemon) == []


def test_export_has_the_rooms_of_the_fleet(world: World, daemon: SyncDaemon) -> None:
    store(world, {"r": {"claude": entry(U)}})
    daemon.rooms = [room("r", V), room("s", W)]

    exported = json.loads(printed(world, "export"))

    assert {it["room"]: it["session_id"] for it in exported["mappings"]} == {"r": V, "s": W}


def test_fleet_status_is_one_screen(world: World, daemon: SyncDaemon) -> None:
    daemon.here = [following("mine", U, pid=9, kind="streaming", behind=5000)]
    daemon.elsewhere = [running("theirs", V)]

    said = dict(line.split(None, 1) for line in printed(world, "fleet", "status").splitlines())

    assert said["Backend"] == "reached: nats-server 2.15.1 at 10.0.0.5:4222"
    assert said["Stored"] == "12 MB, in 1,204 records"
    assert said["Daemon"].startswith("process 4711, for ")
    assert said["Here"] == "mine claude (streaming)"
    assert said["Elsewhere"].startswith("theirs claude on build-7 (one-shot, for ")
    assert said["Behind"] == "5.0 kB: mine claude"
    validate("fleet", json.loads(printed(world, "fleet", "status", "--json")))


def test_fleet_status_fails_where_the_server_is_away(world: World, daemon: SyncDaemon) -> None:
    daemon.backend |= {"is_reachable": False, "why": "nobody answers", "stream": None}

    run = ask(world, "fleet", "status")

    assert (run.exit_code, run.lines) == (1, [])
    assert run.stdout.splitlines()[0].split(None, 1)[1] == b"not reached: nobody answers"
    validate("fleet", json.loads(ask(world, "fleet", "status", "--json").stdout))


def test_fleet_status_fails_where_the_daemon_cannot_say(world: World, daemon: SyncDaemon) -> None:
    daemon.answers["status"] = AWAY

    assert refused(world, "fleet", "status") == "nobody answers at 10.0.0.5:4222"


def test_fleet_status_without_a_fleet_says_how_to_have_one(world: World) -> None:
    assert refused(world, "fleet", "status") == (
        "no fleet is configured: NSED_FLEET_URL names its server"
    )


def test_fleet_stop_ends_the_daemon(world: World, daemon: SyncDaemon) -> None:
    assert printed(world, "fleet", "stop") == "Ended the sync daemon.\n"

    assert [each["request"] for each in daemon.asked] == ["stop"]


def test_a_new_key_is_beside_the_store_and_said_in_one_line(world: World) -> None:
    said = printed(world, "fleet", "key", "new")

    path = world.store.parent / "fleet.key"
    assert said == f"export NSED_FLEET_KEY_FILE={path}\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_key_that_is_there_is_not_overwritten(world: World, tmp_path: Path) -> None:
    path = tmp_path / "my.key"
    printed(world, "fleet", "key", "new", str(path))
    before = path.read_text()

    assert "is there already, and is left as it is" in refused(
        world, "fleet", "key", "new", str(path)
    )
    assert path.read_text() == before
