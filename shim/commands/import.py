"""`claude-shim import`: give rooms to conversations that are there already."""  # noqa: N999

from __future__ import annotations

import os
import sys
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING

import click

from shim.base import plain_text
from shim.base.session_key import DEFAULT_AGENT
from shim.claude import transcripts
from shim.cli import conversations, exchange, output, project_rooms, tables
from shim.cli.names import AGENT, ROOM
from shim.lease import busy, live
from shim.store import history, store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable

    from shim.cli.exchange import Change
    from shim.store.document import Document
    from shim.store.history import Head

    Plan = Callable[[Document], list[Change]]

_COUNTED = (
    *(exchange.ADDED, exchange.REPLACED, exchange.KEPT, exchange.SKIPPED),
    *(exchange.RENEWED, exchange.UNCHANGED, exchange.LIVE),
)
_IDLE = (exchange.SKIPPED, exchange.UNCHANGED, exchange.LIVE)
_UNTOLD = (exchange.RENEWED, exchange.UNCHANGED)


@click.command("import")
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@click.option("--from-projects", is_flag=True, help="A room for every project of claude's.")
@click.option(
    "--project",
    is_flag=False,
    flag_value=os.curdir,
    metavar="[DIR]",
    help="A room for the project of one directory; this one, if DIR is left out.",
)
@click.option("--room", type=ROOM, help="With --project: the room's name.")
@click.option(
    "--agent",
    type=AGENT,
    default=DEFAULT_AGENT,
    show_default=True,
    help="With projects: the agent.",
)
@click.option("--replace", is_flag=True, help="With projects: in the place of mappings there are.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be imported.")
@output.as_json
def command(
    file: str | None,
    from_projects: bool,
    project: str | None,
    room: str | None,
    agent: str,
    replace: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import mappings, or give rooms to claude's own conversations.

    FILE is an export or another sessions.json; - is stdin. Of two mappings for the same room and
    agent, the one used last is taken, and the other kept as an earlier one.

    With --from-projects or --project, a project's room has the name of its directory, and goes on
    with the project's most recent conversation. Mappings that are there stay, and so do projects
    one of whose conversations has a room, unless you say --replace.

    What a claude is live on is never changed: the exit code is then 75, and you can try again.

    \b
    Examples:
      claude-shim import mappings.json --dry-run
      claude-shim import /mnt/old-machine/.nsed/sessions.json
      claude-shim import --from-projects --dry-run
      cd ~/app && claude-shim import --project --room app
    """
    if [file is not None, from_projects, project is not None].count(True) != 1:
        raise click.UsageError("Say one of FILE, --from-projects and --project.")
    if room is not None and project is None:
        raise click.UsageError("--room goes with --project.")
    if file is not None and replace:
        raise click.UsageError("--replace goes with projects; of a FILE's mappings the newer wins.")
    sessions = Store(store.directory())
    presence = live.presence(sessions.directory)
    earlier: list[Head] = []
    plan: Plan
    if file is not None:
        imported, earlier = exchange.parsed(_content(file), "stdin" if file == "-" else file)
        plan = partial(exchange.merged, imported=imported, presence=presence)
    else:
        plan = partial(
            project_rooms.planned,
            projects=project_rooms.every()
            if project is None
            else [project_rooms.of_directory(project, room)],
            agent=agent,
            replace=replace,
            is_beside_others=project is not None,
            presence=presence,
        )
    changes = _carried_out(sessions, plan, earlier, dry_run)
    there = conversations.session_ids(sessions.directory)
    if as_json:
        output.show_json(
            {"dry_run": dry_run, "mappings": [_record(change, there) for change in changes]}
        )
    else:
        _show(changes, there, dry_run)
    if any(change.action == exchange.LIVE for change in changes):
        sys.exit(busy.EXIT_BUSY)
    if project is not None and changes[0].action == exchange.SKIPPED:
        sys.exit(1)


def _content(file: str) -> bytes:
    if file == "-":
        return sys.stdin.buffer.read()
    try:
        with open(file, "rb") as opened:
            return opened.read()
    except OSError as problem:
        raise click.ClickException(f"{file}: {problem.strerror}") from problem


def _carried_out(sessions: Store, plan: Plan, earlier: list[Head], dry_run: bool) -> list[Change]:
    """What comes of each mapping; carried out, if this is no dry run."""
    changes = plan(sessions.mappings())
    is_idle = all(change.action in _IDLE for change in changes)
    if dry_run or (is_idle and not earlier):
        return changes

    def act(mappings: Document) -> list[Head]:
        changes[:] = plan(mappings)
        past = history.everything(sessions.directory)
        return exchange.apply(mappings, changes, earlier, past)

    sessions.change(act)
    return changes


def _record(change: Change, there: set[str]) -> dict[str, object]:
    return {
        **exchange.record((change.room, change.agent, change.entry)),
        "action": change.action,
        "before": change.before and change.before["uuid"],
        "has_transcript": change.entry["uuid"] in there,
        "note": change.note or None,
    }


def _show(changes: list[Change], there: set[str], dry_run: bool) -> None:
    rows = [_row(change, there) for change in changes if change.action not in _UNTOLD]
    if rows:
        tables.print_table(("ROOM", "AGENT", "ID", "CHANGE", "WHY"), rows)
    counts = Counter(change.action for change in changes)
    told = ", ".join(f"{counts[action]:,} {action}" for action in _COUNTED if counts[action])
    click.echo(f"{told or 'There is nothing to import'}{' (dry run)' if dry_run else ''}.")
    taken = [c for c in changes if c.action in (exchange.ADDED, exchange.REPLACED)]
    missing = sum(change.entry["uuid"] not in there for change in taken)
    if missing:
        where = output.at_home(transcripts.projects_directory())
        click.echo(
            f"{missing:,} of them without a transcript on this machine: the next call there starts"
            f" a new conversation, unless you copy {where} over first."
        )


def _row(change: Change, there: set[str]) -> tuple[str, ...]:
    note = change.note
    if change.action == exchange.REPLACED and change.before is not None:
        note = f"it was {plain_text.printable(change.before['uuid'])}"
    elif change.entry["uuid"] not in there:
        note = note or "no transcript here"
    return (
        output.name(change.room),
        output.name(change.agent),
        change.entry["uuid"],
        change.action,
        note,
    )
