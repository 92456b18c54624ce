"""`claude-shim ps`: list the claudes that run now, and their rooms."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from shim.base.plain_text import printable
from shim.cli import hosts, mapped
from shim.cli.mapped import Survey
from shim.cli.output import age, as_json, at_home, dim, doubtful, iso, name, show_json, size
from shim.cli.tables import print_table, shortened, shortened_path
from shim.forks import fork_marker
from shim.locks import live_claudes
from shim.store import store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.cli.hosts import Fleet
    from shim.cli.tables import Cut
    from shim.fleet.overview import RemoteClaude
    from shim.locks.live_claudes import Claude

_HEADER = ("ROOM", "AGENT", "PID", "KIND", "SINCE", "MEMORY", "WAITING", "DIRECTORY")
_ROOM, _AGENT, _PID, _KIND, _SINCE, _MEMORY, _WAITING, _DIRECTORY = range(8)
_CUTS: dict[int, Cut] = {
    _DIRECTORY: (20, shortened_path),
    _ROOM: (16, shortened),
    _AGENT: (12, shortened),
}
_LEAVES = (_MEMORY, _DIRECTORY, _SINCE, _WAITING, _AGENT, _KIND)


@dataclass(frozen=True)
class Running:
    """A claude that runs, and its room; the names are None if they are unknown."""

    room: str | None
    agent: str | None
    session_id: str | None
    claude: Claude


@click.command("ps")
@click.option(
    "--watch",
    type=click.FloatRange(min=0.1),
    is_flag=False,
    flag_value=2.0,
    metavar="[SECONDS]",
    help="Repeat every SECONDS, 2 by default, until Ctrl-C.",
)
@as_json
def command(watch: float | None, as_json: bool) -> None:
    """List the claudes that run for a room and agent, and the calls that wait for them.

    \b
    KIND       one-shot (`claude -p`), streaming (kept running by a program),
               interactive (on a terminal), or background (run by claude's
               own service: `claude stop` ends it). Also:
               unmanaged: on a room's conversation without its lock, as it
                 was started without the shim
               fork: has a fork of the room's conversation, because another
                 claude had that one
               fenced: another host of the fleet has taken its conversation;
                 its own turns are a fork
    WAITING    process ids of the calls that wait for it to end
    DIRECTORY  its working directory
    HOST       in a fleet: the host it runs on

    On a narrow terminal, columns are dropped in this order: MEMORY, DIRECTORY, SINCE, WAITING,
    AGENT, KIND. In a pipe, columns are separated by tabs.

    \b
      claude-shim ps --watch
      claude-shim ps --watch 10 --json >> claudes.json
    """
    sessions = Store(store.directory())
    try:
        while True:
            running = list(_running(sessions))
            fleet = hosts.known(sessions.directory, with_rooms=False)
            if watch is not None:
                click.clear()  # on a terminal; elsewhere one follows the other
            _show(running, fleet, as_json)
            if watch is None:
                return
            time.sleep(watch)
    except KeyboardInterrupt:
        return


def _running(sessions: Store) -> Iterator[Running]:
    survey = Survey(sessions.directory)
    if not survey.holders and not survey.conversations:
        return  # the store need not be read
    mappings = mapped.every(sessions.mappings())
    alive = [mapping for mapping in mappings if survey.is_live(mapping)]
    listed = set()
    for mapping in sorted(alive, key=lambda mapping: (mapping.room, mapping.agent)):
        for claude in survey.claudes(mapping):
            listed.add(claude.pid)
            yield Running(mapping.room, mapping.agent, mapping.session_id, claude)
    # Their rooms were forgotten while they run, or are not recorded yet, or never will be.
    for key, holder in survey.holders.except_keys(
        (mapping.room, mapping.agent) for mapping in alive
    ):
        room, agent = (key.room, key.agent) if key else (None, None)
        (claude,) = live_claudes.claudes([holder], ())
        listed.add(claude.pid)
        yield Running(room, agent, survey.conversations.get(holder.pid), claude)
    # A fork's environment names its room, also while another claude has that.
    for pid, session_id in survey.conversations.items():
        key, process = live_claudes.key_of(pid), live_claudes.process(pid)
        if pid in listed or not key or not process:
            continue
        marker = fork_marker.of_fork(sessions.directory, session_id)
        parent = marker.of if marker else process.forked_from
        if parent:
            fork = live_claudes.Claude(pid, None, (), replace(process, forked_from=parent))
            yield Running(key.room, key.agent, session_id, fork)


def _show(running: list[Running], fleet: Fleet, as_json: bool) -> None:
    remote = [each for them in fleet.running.values() for each in them]
    if as_json:
        here = [{**_as_json(each), **fleet.claude_as_json(each.claude)} for each in running]
        show_json([*here, *map(_remote_as_json, remote)])
        return
    for line in fleet.late():
        click.echo(line, err=True)
    if not running and not remote:
        click.echo("No claude runs for a room or agent.", err=True)
        return
    now = time.time()
    header = (*_HEADER, "HOST") if fleet.is_configured else _HEADER
    rows = [_cells(each, fleet, now) for each in running]
    rows += [_remote_cells(each, now) for each in remote]
    print_table(header, rows, {_PID, _MEMORY}, _CUTS, _LEAVES)


def _as_json(running: Running) -> dict[str, Any]:
    return {
        "room": running.room,
        "agent": running.agent,
        "session_id": running.session_id,
        **mapped.claude_as_json(running.claude),
    }


def _remote_as_json(remote: RemoteClaude) -> dict[str, Any]:
    """A claude on another host, for programs; its memory and directory are unknown here."""
    return {
        "room": remote.room,
        "agent": remote.agent,
        "session_id": remote.session_id,
        "pid": remote.pid,
        "kind": remote.kind,
        "stranger": False,
        "forked_from": None,
        "since": iso(remote.since),
        "memory": None,
        "directory": None,
        "waiting": [],
        "host": remote.hostname,
        "fenced": False,
    }


def _cells(running: Running, fleet: Fleet, now: float) -> list[str]:
    claude, process = running.claude, running.claude.process
    fenced = doubtful(", fenced") if fleet.is_fenced(claude.pid) else ""
    return [
        dim("?") if running.room is None else name(running.room),
        dim("?") if running.agent is None else name(running.agent),
        str(claude.pid or "?"),
        mapped.kind(claude) + fenced,
        age(now - process.since) if process else "-",
        size(process.memory) if process else "-",
        " ".join(map(str, claude.waiting)) or "-",
        at_home(process.directory) if process and process.directory else "-",
        *(["here"] if fleet.is_configured else []),
    ]


def _remote_cells(remote: RemoteClaude, now: float) -> list[str]:
    since, host = age(now - remote.since), printable(remote.hostname)
    names = name(remote.room), name(remote.agent)
    return [*names, str(remote.pid), remote.kind, since, "-", "-", "-", host]
