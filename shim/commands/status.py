"""`claude-shim status`: show on one screen whether all is well, and who is live."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from shim.checks import examination
from shim.checks.finding import PROBLEM, WARNING
from shim.checks.refused import MOST_NAMED
from shim.checks.setup import Setup
from shim.cli import mapped, output
from shim.cli.output import as_json, at_home, bad, counted, dim, good, name
from shim.install import launcher
from shim.store import store

if TYPE_CHECKING:
    from shim.cli.mapped import Mapping
    from shim.locks.live_claudes import Claude

_MOST_NAMED = 5


@click.command("status")
@as_json
def command(as_json: bool) -> None:
    """Show on one screen whether all is well, how many rooms there are, and who is live.

    The last line sums up `claude-shim doctor`.
    """
    setup = Setup()
    where = store.directory(make=False)
    mappings = mapped.every(store.Store(where).mappings())
    survey = mapped.Survey(where, {each.session_id for each in mappings})
    conversations = {each.session_id for each in mappings if survey.has_any(each)}
    live = [(each, survey.claudes(each)) for each in mappings if survey.is_live(each)]
    statuses = [finding.status for _, finding in examination.examine(setup)]
    found = {
        "launcher": str(setup.launcher) if setup.launcher else None,
        "first_on_path": launcher.first_on_path() == str(setup.launcher),
        "claude": str(setup.real) if setup.real else None,
        "rooms": len({each.room for each in mappings}),
        "mappings": len(mappings),
        "conversations": len(conversations),
        "live": [
            {"room": each.room, "agent": each.agent, "session_id": each.session_id}
            for each, _ in live
        ],
        "problems": statuses.count(PROBLEM),
        "warnings": statuses.count(WARNING),
        "refused": [
            {"room": each.room, "agent": each.agent, "error": each.error} for each in setup.refused
        ],
    }
    if as_json:
        output.show_json(found)
        return
    first = good("first on PATH") if found["first_on_path"] else bad("not first on PATH")
    none = bad("none")
    rows = {
        "Launcher": f"{at_home(str(setup.launcher))}, {first}" if setup.launcher else none,
        "Claude": at_home(str(setup.real)) if setup.real else none,
        "Rooms": f"{found['rooms']:,}, with {counted(len(conversations), 'conversation')}",
        "Live": _live_rooms(live),
        "Doctor": _verdict(found),
    }
    for label, text in rows.items():
        click.echo(f"{dim(label)}{' ' * (10 - len(label))}{text}")
    for each in setup.refused[:MOST_NAMED]:
        click.echo(f"{dim('Refused')}   {bad(str(each))}")
        click.echo(f"{' ' * 10}{each.ways_out(where)}")


def _live_rooms(live: list[tuple[Mapping, list[Claude]]]) -> str:
    some = [
        f"{name(each.room)} {name(each.agent)} ({' + '.join(map(mapped.kind, claudes))})"
        for each, claudes in live[:_MOST_NAMED]
    ]
    more = [f"{len(live) - _MOST_NAMED:,} more"] if len(live) > _MOST_NAMED else []
    return ", ".join([*some, *more]) or "nobody"


def _verdict(found: dict[str, Any]) -> str:
    parts = [(found["problems"], "problem"), (found["warnings"], "warning")]
    counts = " and ".join(counted(count, what) for count, what in parts if count)
    return f"{counts}: see `claude-shim doctor`" if counts else "all is well"
