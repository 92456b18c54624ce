"""`claude-shim import`: import mappings, archives, or claude's projects as rooms."""  # noqa: N999

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, cast

import click

from shim.base import files, plain_text
from shim.base.messages import EXIT_BUSY, warn
from shim.base.session_key import DEFAULT_AGENT
from shim.claude import transcripts
from shim.cli import archive, conversations, exchange, output, project_rooms, tables
from shim.cli.names import AGENT, ROOM
from shim.locks import live_claudes
from shim.store import history, relocations, store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

    from shim.cli.archive import Archive, Arrival
    from shim.cli.exchange import Change
    from shim.cli.tables import Cut
    from shim.store.document import Document
    from shim.store.history import Head

    Plan = Callable[[Document], list[Change]]

_COUNTED = (
    *(exchange.ADDED, exchange.REPLACED, exchange.KEPT, exchange.SKIPPED),
    *(exchange.RENEWED, exchange.UNCHANGED, exchange.LIVE),
)
_IDLE = (exchange.SKIPPED, exchange.UNCHANGED, exchange.LIVE)
# On a narrow terminal; then WHY is dropped, then ID, then AGENT.
_CUTS: dict[int, Cut] = {
    2: (8, lambda session_id, _: session_id[:8]),
    4: (20, tables.shortened),
    0: (16, tables.shortened),
    1: (12, tables.shortened),
}
_UNTOLD = (exchange.RENEWED, exchange.UNCHANGED)


def _moves(
    _context: click.Context, _option: click.Parameter, given: tuple[str, ...]
) -> dict[str, str]:
    moves = {}
    for text in given:
        old, _, new = text.partition("=")
        if not (old.startswith("/") and new.startswith("/")):
            raise click.BadParameter(f"{text!r} is no OLD=NEW, both from / on")
        moves[old] = new
    return moves


@click.command("import")
@click.argument("file", required=False, type=click.Path(allow_dash=True))
@click.option("--from-projects", is_flag=True, help="Make a room of each of claude's projects.")
@click.option(
    "--project",
    is_flag=False,
    flag_value=os.curdir,
    metavar="[DIR]",
    help="Make a room of one directory's project; by default, the current one.",
)
@click.option("--room", type=ROOM, help="With --project: the room's name.")
@click.option(
    "--agent",
    type=AGENT,
    default=DEFAULT_AGENT,
    show_default=True,
    help="With projects: the agent.",
)
@click.option(
    "--map",
    "moves",
    multiple=True,
    metavar="OLD=NEW",
    callback=_moves,
    help="With FILE: where a directory of the other machine is here. Remembered.",
)
@click.option("--replace", is_flag=True, help="With projects: replace existing mappings.")
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be imported.")
@output.as_json
def command(
    file: str | None,
    from_projects: bool,
    project: str | None,
    room: str | None,
    agent: str,
    moves: dict[str, str],
    replace: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import mappings, or make rooms of claude's own conversations.

    FILE is an export or a sessions.json; - is stdin. Of two mappings for the same room and agent,
    the one used last wins, and the other becomes an earlier one.

    If FILE is an archive, its conversations are first written where claude finds them on this
    machine. A conversation that exists here stays, unless the archive has it with more turns. Use
    --map for directories that have another path here.

    With --from-projects or --project, a project's room is named after its directory, and resumes
    the project's most recent conversation. Existing mappings stay, and a project that already has a
    room is skipped, unless you pass --replace.

    A conversation that a claude is live on is never changed: the exit code is then 75; try again.

    \b
    Examples:
      claude-shim import mappings.json --dry-run
      claude-shim import /mnt/old-machine/.nsed/sessions.json
      claude-shim import rooms.tar.gz --map /home/ada=/Users/ada
      claude-shim import --from-projects --dry-run
      cd ~/app && claude-shim import --project --room app
    """
    if [file is not None, from_projects, project is not None].count(True) != 1:
        raise click.UsageError("Give one of FILE, --from-projects and --project.")
    if room is not None and project is None:
        raise click.UsageError("--room needs --project.")
    if file is None and moves:
        raise click.UsageError("--map needs a FILE.")
    if file is not None and replace:
        raise click.UsageError("--replace is for projects; of a FILE's mappings the newer wins.")
    sessions = Store(store.directory())
    presence = live_claudes.presence(sessions.directory)
    earlier: list[Head] = []
    arrivals: list[Arrival] = []
    plan: Plan
    if file is not None:
        with _opened(file) as stream:
            source = "stdin" if file == "-" else file
            if moves and not dry_run:
                files.make_directory(sessions.directory)
                relocations.remember(sessions.directory, moves)
            if stream.peek(2)[:2] == archive.MAGIC:
                packed = archive.Archive(stream, source)
                data = packed.mappings
                arrivals = _arrived(sessions.directory, packed, moves, dry_run)
            else:
                data = stream.read(exchange.LARGEST + 1)  # a device may have no end
        imported, earlier = exchange.parsed(data, source)
        plan = partial(exchange.merged, imported=imported, presence=presence)
    else:
        plan = partial(
            project_rooms.planned,
            projects=project_rooms.every()
            if project is None
            else [project_rooms.in_directory(project, room)],
            agent=agent,
            replace=replace,
            is_beside_others=project is not None,
            presence=presence,
        )
    changes = _carried_out(sessions, plan, earlier, dry_run)
    there = conversations.session_ids(sessions.directory)
    if dry_run:
        there |= {each.conversation.session_id for each in arrivals}
    if as_json:
        output.show_json(
            {
                "dry_run": dry_run,
                "mappings": [_record(change, there) for change in changes],
                "conversations": [_arrival_record(each) for each in arrivals],
            }
        )
    else:
        _show_arrivals(arrivals, dry_run)
        _show(changes, there, dry_run)
    if exchange.LIVE in [*(c.action for c in changes), *(a.action for a in arrivals)]:
        sys.exit(EXIT_BUSY)
    if project is not None and changes[0].action == exchange.SKIPPED:
        sys.exit(1)


@contextmanager
def _opened(file: str) -> Iterator[BufferedReader]:
    """A file, or stdin, to be read. Raises ClickException where it cannot be."""
    try:
        with nullcontext(sys.stdin.buffer) if file == "-" else open(file, "rb") as opened:
            yield cast("BufferedReader", opened)
    except OSError as problem:
        where = problem.filename or file
        raise click.ClickException(f"{where}: {problem.strerror}") from problem


def _arrived(store: str, packed: Archive, moves: dict[str, str], dry_run: bool) -> list[Arrival]:
    """The outcome for each conversation of an archive; written, unless this is a dry run."""
    known = {**relocations.known(store), **moves}
    destinations = archive.Destinations(store, known, packed.conversations)
    if dry_run:
        return [destinations.predict(each) for each in packed.conversations]
    files.make_directory(store)
    count = len(packed.conversations)
    unpacked = packed.unpack(destinations)
    with output.progress(unpacked, count, "Unpacking conversations") as steps:
        return list(steps)


def _carried_out(sessions: Store, plan: Plan, earlier: list[Head], dry_run: bool) -> list[Change]:
    """The outcome for each mapping; written, unless this is a dry run."""
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
        header = ("ROOM", "AGENT", "ID", "CHANGE", "WHY")
        tables.print_table(header, rows, cuts=_CUTS, leaves=(4, 2, 1))
    counts = Counter(change.action for change in changes)
    summary = ", ".join(f"{counts[action]:,} {action}" for action in _COUNTED if counts[action])
    click.echo(f"{summary or 'There is nothing to import'}{' (dry run)' if dry_run else ''}.")
    taken = [c for c in changes if c.action in (exchange.ADDED, exchange.REPLACED)]
    missing = sum(change.entry["uuid"] not in there for change in taken)
    if missing:
        where = output.at_home(transcripts.projects_directory())
        click.echo(
            f"{missing:,} of them have no transcript on this machine: their next call starts a new"
            f" conversation, unless you copy {where} over first."
        )


def _arrival_record(arrival: Arrival) -> dict[str, object]:
    return {
        "session_id": arrival.conversation.session_id,
        "action": arrival.action,
        "transcript": arrival.path,
    }


def _show_arrivals(arrivals: list[Arrival], dry_run: bool) -> None:
    """Print the outcomes, and how many directories are missing on this machine."""
    counts = Counter(each.action for each in arrivals)
    if arrivals:
        summary = ", ".join(f"{count:,} {action}" for action, count in sorted(counts.items()))
        click.echo(f"Conversations: {summary}{' (dry run)' if dry_run else ''}.")
    for each in arrivals:
        if each.action == exchange.SKIPPED:
            warn(f"{each.path} differs from the archive's conversation of that id: left as it is")
    moved_away = {
        each.conversation.directory
        for each in arrivals
        if each.action == exchange.ADDED
        and each.conversation.project == each.path.split("/")[-2]
        and not os.path.isdir(each.conversation.directory or "/")
    }
    if moved_away:
        some = plain_text.printable(min(filter(None, moved_away)))
        click.echo(
            f"{len(moved_away):,} of their directories are missing here, such as {some}: if they"
            " have other paths here, import again with --map OLD=NEW."
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
