"""`claude-shim prune`: drop the mappings that nobody has used for long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from shim import dropping, live, store
from shim.commands import asking, exchange, output
from shim.commands.names import AGE
from shim.store import Store

if TYPE_CHECKING:
    from shim.document import Document
    from shim.history import Head


@click.command("prune")
@click.option(
    "--older-than",
    "age",
    type=AGE,
    default="30d",
    show_default=True,
    metavar="AGE",
    help="Those unused for so long: 30d, 12h, '2 weeks'.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be removed.")
@asking.yes
@output.as_json
def command(age: float, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the mappings of rooms and agents that were not used for long.

    Their conversations stay with claude. A room and agent that are used again later go on with the
    conversation that their names derive, if it is still there, and else start a new one. What a
    claude is live on stays. You are asked before anything is removed; what `--json` prints can be
    given to `claude-shim import` to have it back.

    \b
    Examples:
      claude-shim prune --older-than 30d --dry-run
      claude-shim prune --older-than 2w --yes --json >removed.json
    """
    sessions = Store(store.directory())
    stale = _stale(sessions, age)
    if stale and not dry_run:
        asking.require_answer(yes)
    if stale and not as_json:
        _show(stale)
    if stale and not dry_run:
        asking.confirm(f"Remove {_count(stale)}?", yes)
        stale = _removed(sessions, stale)
    if as_json:
        click.echo(exchange.dumped(stale, []), nl=False)
    elif stale:
        click.echo(f"{'Would remove' if dry_run else 'Removed'} {_count(stale)}.")
    else:
        click.echo(f"Nothing was unused for {output.span(age)}.")


def _stale(sessions: Store, age: float) -> list[Head]:
    """The mappings unused for so many seconds that no claude is live on, the longest first."""
    cutoff = time.time_ns() - int(age * 1_000_000_000)
    holders = live.holders(sessions.directory)
    stale = [
        (room, agent, entry)
        for room, agent, entry in exchange.heads(dropping.unused_since(sessions.mappings(), cutoff))
        if holders.of(room, agent) is None
    ]
    return sorted(stale, key=lambda head: exchange.used(head[2]))


def _removed(sessions: Store, stale: list[Head]) -> list[Head]:
    """Remove these mappings but for those used in this moment; return what was removed."""
    doomed: Document = {}
    for room, agent, entry in stale:
        doomed.setdefault(room, {})[agent] = entry
    if dropping.drop(sessions, doomed) == len(stale):
        return stale
    left = sessions.mappings()
    return [head for head in stale if head[1] not in left.get(head[0], {})]


def _show(stale: list[Head]) -> None:
    now = time.time_ns()
    rows = [
        (
            output.name(room),
            output.name(agent),
            output.printable(entry["uuid"]),
            output.age((now - exchange.used(entry)) / 1e9),
        )
        for room, agent, entry in stale
    ]
    click.echo("\n".join(output.table(("ROOM", "AGENT", "ID", "LAST USED"), rows)))


def _count(stale: list[Head]) -> str:
    return "1 mapping" if len(stale) == 1 else f"{len(stale):,} mappings"
