"""`claude-shim list`: list rooms, agents and their conversations."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import click

from shim.base.plain_text import printable
from shim.cli import hosts, mapped
from shim.cli.names import AGE, AGENT, ROOM, WHEN
from shim.cli.output import age, as_json, name, progress, show_json, size
from shim.cli.tables import print_table, shortened, shortened_path
from shim.store import store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shim.claude.summary import Summary
    from shim.cli.hosts import Fleet
    from shim.cli.mapped import Mapping, Survey
    from shim.cli.tables import Cut
    from shim.locks.live_claudes import Claude

    Row = tuple[Mapping, list[Claude], tuple[str, Summary] | None]

_PAGE = 50
_HEADER = ("ROOM", "AGENT", "ID", "USED", "LIVE", "TURNS", "SIZE", "PROJECT", "ABOUT")
_ROOM, _AGENT, _ID, _USED, _LIVE, _TURNS, _SIZE, _PROJECT, _ABOUT = range(9)
# On a narrow terminal, in this order. `link` takes the short ids, too.
_CUTS: dict[int, Cut] = {
    _ID: (8, lambda session_id, _: session_id[:8]),
    _ABOUT: (20, shortened),
    _PROJECT: (20, shortened_path),
    _ROOM: (16, shortened),
    _AGENT: (12, shortened),
}
_LEAVES = (_SIZE, _PROJECT, _ID, _TURNS, _USED, _AGENT, _LIVE, _ABOUT)
_LONGEST_ABOUT = 60


@click.command("list")
@click.option("--room", type=ROOM, help="Only this room.")
@click.option("--agent", type=AGENT, help="Only this agent.")
@click.option("--live", "only_live", is_flag=True, help="Only those with a live claude.")
@click.option("--stale", type=AGE, help="Only those unused for this long, such as 30d or 12h.")
@click.option("--since", type=WHEN, help="Only those used since then, such as 2w or 2026-11-30.")
@click.option(
    "--sort",
    type=click.Choice(["used", "room", "agent", "size"]),
    default="used",
    help="Last used first, largest first, or by name.  [default: used]",
)
@click.option("--reverse", is_flag=True, help="Reverse the order.")
@click.option(
    "--limit", type=click.IntRange(1), metavar="N", help=f"Rows per page.  [default: {_PAGE}]"
)
@click.option("--page", type=click.IntRange(1), metavar="N", help="Page to show.  [default: 1]")
@click.option("--all", "show_all", is_flag=True, help="Show all matches on one page.")
@click.option("--empty", is_flag=True, help="Include rooms without a conversation.")
@as_json
def command(
    room: str | None,
    agent: str | None,
    only_live: bool,
    stale: float | None,
    since: float | None,
    sort: str,
    reverse: bool,
    limit: int | None,
    page: int | None,
    show_all: bool,
    empty: bool,
    as_json: bool,
) -> None:
    """List rooms and agents with their conversations, last used first.

    \b
    USED     when a call last resumed it
    LIVE     how its claude runs, + others on it: an `unmanaged` one was
             started without the shim, a `fork` has a fork of it
    TURNS    its prompts; ~ marks an estimate, as only the beginning and the
             end of a large transcript are read
    SIZE     including tool results and subagents
    PROJECT  its directory, and its config directory if that is another than
             this shell's; `no transcript` if claude has none: the next call
             then starts a new conversation
    ABOUT    the title from OpenCode, you or claude, else its first words
    HOST     in a fleet: the host that had it last

    In a fleet, the rooms of all hosts are listed.

    Rooms without a conversation, such as those whose only call failed at once, are hidden unless
    you pass --empty. On a narrow terminal, columns are dropped in this order: SIZE, PROJECT, ID,
    TURNS, USED, AGENT, LIVE, ABOUT. In a pipe, columns are separated by tabs.

    \b
      claude-shim list --room refactor
      claude-shim list --since 2w
      claude-shim list --stale 30d --sort size
      claude-shim list --json | jq -r '.[] | select(.live) | .room'

    --json prints all matches, those without a conversation included, unless you give --limit or
    --page.
    """
    opened = store.Store(store.directory())
    fleet = hosts.known(opened.directory)
    mappings = mapped.every(fleet.merge(opened.mappings()))
    survey = mapped.Survey(opened.directory, (mapping.session_id for mapping in mappings))
    found = [
        mapping
        for mapping in mappings
        if room in (None, mapping.room)
        and agent in (None, mapping.agent)
        and (stale is None or time.time() - mapping.used > stale)
        and (since is None or mapping.used >= since)
        and (not only_live or survey.is_live(mapping) or fleet.claudes(mapping))
    ]
    shown = found if empty or as_json else [it for it in found if _has_any(it, survey, fleet)]
    hidden, found = len(found) - len(shown), shown
    found.sort(key=_order(sort, survey), reverse=reverse)
    is_paged = not show_all and (not as_json or limit is not None or page is not None)
    length = (limit or _PAGE) if is_paged else max(len(found), 1)
    start = ((page or 1) - 1) * length
    rows = list(_described(found[start : start + length], survey))
    if as_json:
        show_json([{**mapped.as_json(*row), **fleet.as_json(row[0])} for row in rows])
        return
    if rows:
        now = time.time()
        header = (*_HEADER, "HOST") if fleet.is_configured else _HEADER
        cells = [_cells(*row, fleet, now) for row in rows]
        print_table(header, cells, {_TURNS, _SIZE}, _CUTS, _LEAVES)
    for line in _refusals(rows, opened.directory):
        click.echo(line, err=True)
    is_filtered = any(it is not None for it in (room, agent, since, stale))
    if only_live and mappings and not found and not is_filtered:
        click.echo("No claude is live for a room or agent.", err=True)
        return
    if found or not hidden:
        for line in _hints(mappings, found, start, len(rows), room, agent):
            click.echo(line, err=True)
    if hidden:
        click.echo(f"{hidden:,} without a conversation are hidden: --empty shows them.", err=True)


def _order(sort: str, survey: Survey) -> Callable[[Mapping], Any]:
    def bytes_of(mapping: Mapping) -> int:
        paths = survey.transcript_paths.get(mapping.session_id)
        try:
            return os.stat(paths[0]).st_size if paths else -1
        except OSError:
            return -1

    return {
        "used": lambda mapping: -mapping.used,
        "room": lambda mapping: (mapping.room, mapping.agent),
        "agent": lambda mapping: (mapping.agent, mapping.room),
        "size": lambda mapping: -bytes_of(mapping),
    }[sort]


def _described(mappings: Sequence[Mapping], survey: Survey) -> Iterator[Row]:
    """Each mapping with its claudes and its conversation; shows progress if there are many."""
    with progress(mappings, len(mappings), "Reading transcripts") as steps:
        for mapping in steps:
            yield mapping, survey.claudes(mapping), survey.conversation(mapping)


def _has_any(mapping: Mapping, survey: Survey, fleet: Fleet) -> bool:
    """Whether there is a conversation, here or on another host."""
    return fleet.host(mapping) is not None or survey.has_any(mapping)


def _cells(
    mapping: Mapping,
    claudes: Sequence[Claude],
    transcript: tuple[str, Summary] | None,
    fleet: Fleet,
    now: float,
) -> list[str]:
    seen = transcript and transcript[1]
    live = [mapped.kind(claude) for claude in claudes]
    live += [f"{it.kind} on {printable(it.hostname)}" for it in fleet.claudes(mapping)]
    is_away = transcript is None and fleet.is_elsewhere(mapping)
    host = printable(fleet.host(mapping) or "-")
    return [
        name(mapping.room),
        name(mapping.agent),
        printable(mapping.session_id),
        age(now - mapping.used),
        " + ".join(live) or "-",
        mapped.turns(seen) if seen else "-",
        size(seen.size) if seen else "-",
        f"on {host}" if is_away else mapped.project(transcript, is_live=bool(claudes)),
        shortened(mapped.about(seen), _LONGEST_ABOUT) if seen else "-",
        *([host] if fleet.is_configured else []),
    ]


def _refusals(rows: Sequence[Row], directory: str) -> Iterator[str]:
    """Lines about the rows whose conversation the API refuses."""
    found = [(row[0], row[2][1].api_error) for row in rows if row[2] and row[2][1].api_error]
    if not found:
        return
    from shim.checks.refused import MOST_NAMED, Refused  # few lists have any

    for mapping, error in found[:MOST_NAMED]:
        room = Refused(mapping.room, mapping.agent, mapping.session_id, error or "")
        yield f"{room}; {room.ways_out(directory)}"
    if len(found) > MOST_NAMED:
        yield f"The API refuses {len(found) - MOST_NAMED:,} more."


def _hints(
    mappings: Sequence[Mapping],
    found: Sequence[Mapping],
    start: int,
    shown: int,
    room: str | None,
    agent: str | None,
) -> Iterator[str]:
    """Lines about what the table does not show, and how to see it."""
    if not mappings:
        yield "No room has a conversation yet. After `claude-shim install`, this starts one:"
        yield "  NSED_ROOM_ID=refactor claude"
    elif not found:
        yield f"Nothing matches{_meant(mappings, room, agent)}"
    elif not shown:
        yield f"There are only {len(found):,}: --page 1 shows the first."
    elif start + shown < len(found):
        following = start // shown + 2
        shown_now = f"{start + 1:,} to {start + shown:,} of {len(found):,}"
        yield f"{shown_now}. More: --page {following}, or --all."


def _meant(mappings: Sequence[Mapping], room: str | None, agent: str | None) -> str:
    rooms = {mapping.room for mapping in mappings}
    agents = {mapping.agent for mapping in mappings}
    if room is not None and room not in rooms:
        return f": there is no room {room!r}{mapped.close_to(room, rooms)}"
    if agent is not None and agent not in agents:
        return f": there is no agent {agent!r}{mapped.close_to(agent, agents)}"
    return "."
