"""`claude-shim prune`: remove mappings that have not been used for long."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from shim.base import plain_text, session_key
from shim.base.session_key import stored_key
from shim.cli import confirming, conversations, exchange, hosts, output, tables
from shim.cli.names import AGE, Age
from shim.locks import live_claudes
from shim.store import document, history, store
from shim.store.store import Store

if TYPE_CHECKING:
    from shim.cli.tables import Cut
    from shim.store.document import Document
    from shim.store.history import Head

# On a narrow terminal.
_CUTS: dict[int, Cut] = {
    2: (8, lambda session_id, _: session_id[:8]),
    0: (16, tables.shortened),
    1: (12, tables.shortened),
}
# Up to so many removed mappings, the way back is printed for each.
_FEW = 5


@click.command("prune")
@click.option(
    "--older-than",
    "age",
    type=AGE,
    default="30d",
    show_default=True,
    metavar="AGE",
    help="Those unused for this long: 12h, 30d, '2 weeks', 3mo, 1y.",
)
@click.option("-n", "--dry-run", is_flag=True, help="Show what would be removed.")
@confirming.yes
@output.as_json
def command(age: Age, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove mappings that have not been used for long.

    Their conversations stay on disk. If a room and agent are used again later, they resume the
    conversation that their names derive, if it still exists, or start a new one. Mappings that a
    claude is live on stay, and so do those that keep a forgotten conversation from coming back. You
    are asked before anything is removed. To undo, pass the output of --json to `claude-shim
    import`. A fleet keeps its mappings: other hosts may use them.

    \b
    Examples:
      claude-shim prune --older-than 30d --dry-run
      claude-shim prune --older-than 2w --yes --json >removed.json
    """
    sessions = Store(store.directory())
    stale = _stale(sessions, age)
    if stale and not dry_run:
        confirming.require_answer(yes)
    is_shown_first = dry_run or not yes
    if stale and is_shown_first and not as_json:
        _show(stale)
    if stale and not dry_run:
        confirming.confirm(f"Remove {_count(stale)}?", yes)
        stale = _removed(sessions, stale)
    if as_json:
        click.echo(exchange.dumped(stale, []), nl=False)
        return
    if stale and not is_shown_first:
        _show(stale)
    if not stale:
        click.echo(f"Nothing has been unused for {age.given}.")
    elif dry_run:
        click.echo(f"Would remove {_count(stale)}.")
    else:
        click.echo(f"Removed {_count(stale)}.")
        rooms = hosts.known(sessions.directory).rooms
        left = [head for head in stale if head[:2] in rooms]
        if left:
            click.echo(f"The fleet still has {_count(left)} of these: a call resumes it.")
        _show_ways_back(sessions, [head for head in stale if head not in left])


def _stale(sessions: Store, age: float) -> list[Head]:
    """The mappings unused for `age` seconds that can be removed, the longest unused first.

    A mapping with a live claude stays. So does one that replaces the conversation which its names
    derive while that one exists: it was forgotten, and must not come back.
    """
    cutoff = time.time_ns() - int(age * 1_000_000_000)
    unused = exchange.heads(document.unused_since(sessions.mappings(), cutoff))
    presence = live_claudes.presence(sessions.directory)
    there = conversations.session_ids(sessions.directory)
    stale = []
    with output.progress(unused, len(unused), "Looking for claudes") as heads:
        for room, agent, entry in heads:
            derived = session_key.derive(stored_key(room, agent))
            is_in_its_place = derived != entry["uuid"] and derived in there
            if not is_in_its_place and presence.on(room, agent, entry["uuid"]) is None:
                stale.append((room, agent, entry))
    return sorted(stale, key=lambda head: exchange.used(head[2]))


def _removed(sessions: Store, stale: list[Head]) -> list[Head]:
    """Record these mappings in the history, and remove them; return those removed.

    A mapping that has just been used stays.
    """
    sessions.locked(lambda _: history.remember_all(sessions.directory, stale))
    doomed: Document = {}
    for room, agent, entry in stale:
        doomed.setdefault(room, {})[agent] = entry
    if sessions.drop(doomed) == len(stale):
        return stale
    left = sessions.mappings()
    return [head for head in stale if head[1] not in left.get(head[0], {})]


def _show(stale: list[Head]) -> None:
    now = time.time_ns()
    rows = [
        (
            output.name(room),
            output.name(agent),
            plain_text.printable(entry["uuid"]),
            output.age((now - exchange.used(entry)) / 1e9),
        )
        for room, agent, entry in stale
    ]
    tables.print_table(("ROOM", "AGENT", "ID", "LAST USED"), rows, cuts=_CUTS, leaves=(2, 1))


def _show_ways_back(sessions: Store, removed: list[Head]) -> None:
    """Print how to return to a few mappings whose conversations exist."""
    if len(removed) > _FEW:
        return
    for room, agent, entry in removed:
        if conversations.can_be_restored(entry["uuid"], sessions.directory):
            way_back = plain_text.command_line("link", room, agent, entry["uuid"])
            click.echo(f"  to go back: {way_back}")


def _count(stale: list[Head]) -> str:
    return "1 mapping" if len(stale) == 1 else f"{len(stale):,} mappings"
