"""`claude-shim delete`: permanently delete the conversations of a room and agent."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from shim.base import session_key, times
from shim.base.plain_text import printable
from shim.base.session_key import stored_key
from shim.cli import confirming, hosts, mapped, output, tables
from shim.cli.names import AGENT, ROOM
from shim.forks import belonging, fork_marker
from shim.retention import owned_paths, tidying
from shim.store import history, store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.cli.hosts import Fleet
    from shim.store.document import Document


_CURRENT, _EARLIER, _FORK = "current", "earlier", "fork"


@dataclass(frozen=True)
class Doomed:
    """A conversation to delete: the current one of a room and agent, or an earlier one."""

    room: str
    agent: str
    session_id: str
    kind: str
    """`current`, `earlier` or `fork`."""
    size: int
    """Bytes of all its files."""
    configs: tuple[str, ...]
    """The config directories in which it may be."""

    @property
    def is_earlier(self) -> bool:
        """Whether the next call would not resume it."""
        return self.kind != _CURRENT


@click.command("delete")
@click.argument("room", type=ROOM)
@click.argument("agent", type=AGENT, required=False)
@click.option("--earlier", is_flag=True, help="Only earlier conversations.")
@confirming.yes
@output.as_json
def command(room: str, agent: str | None, earlier: bool, yes: bool, as_json: bool) -> None:
    """Permanently delete the conversations of ROOM and AGENT, and every record of them.

    Without AGENT, delete those of all agents of the room. For each conversation, current or
    earlier, and each of their forks, this deletes the transcript, its sidecars, its pin and its
    mapping. You are shown a list of them, and asked once. The next call of the room starts a new
    conversation. Prompts typed at a terminal stay in claude's own ~/.claude/history.jsonl.

    If a claude is live on one of them, or another room and agent share it, nothing is deleted, and
    the exit code is 75. An earlier conversation that others share is left out.

    In a fleet, they are deleted from its servers, too, and end on every host. Copies on the disks
    of other hosts stay there.

    \b
    Examples:
      claude-shim delete refactor
      claude-shim delete refactor claude --earlier
      claude-shim delete "" reviewer --yes

    --json prints a list of what was deleted.
    """
    sessions = Store(store.directory())
    fleet = hosts.reached(sessions.directory)
    mappings = fleet.merge(sessions.mappings(), room)
    past = history.everything(sessions.directory)
    known = [*mappings.get(room, {}), *(name for place, name, _ in past if place == room)]
    agents = [agent] if agent is not None else list(dict.fromkeys(known))
    doomed = [it for name in agents for it in _of(sessions, mappings, fleet, room, name, earlier)]
    if not doomed:
        whose = f"room {room!r}" if agent is None else str(stored_key(room, agent))
        close = mapped.close_to(room, mappings) if room not in mappings else ""
        what = "earlier conversation" if earlier else "conversation"
        raise click.ClickException(f"{whose} has no {what} to delete{close}")
    confirming.require_answer(yes)
    _require_unused(sessions, mappings, fleet, doomed, earlier)
    if not yes:
        _show(doomed)
    confirming.confirm(f"{_told(doomed)}. Delete for good?", yes)
    if not yes:  # somebody may have begun while it was asked
        fleet = hosts.reached(sessions.directory)
        _require_unused(sessions, sessions.mappings(), fleet, doomed, earlier)
    _delete(sessions, doomed)
    if as_json:
        output.show_json([_as_json(each) for each in doomed])
        return
    click.echo(f"Deleted {_count(doomed)}, {output.size(sum(each.size for each in doomed))}.")


def _of(
    sessions: Store,
    mappings: Document,
    fleet: Fleet,
    room: str,
    agent: str,
    only_earlier: bool,
) -> Iterator[Doomed]:
    """The conversations that a room and agent have and had, but earlier ones that others have."""
    entry = mappings.get(room, {}).get(agent)
    head = entry["uuid"] if entry else None
    before = [each["uuid"] for each in history.earlier(sessions.directory, room, agent)]
    before += reversed(fleet.earlier(room, agent))
    others = {
        entry["uuid"]
        for place, entries in mappings.items()
        for name, entry in entries.items()
        if (place, name) != (room, agent)
    }
    derived = session_key.derive(stored_key(room, agent))
    forks = belonging.all_below(sessions.directory, {head or derived, *before}, others)
    of_forks = [marker.path for marker in forks if marker.path]
    configs = owned_paths.config_directories(sessions.directory, of_forks)
    if owned_paths.paths(sessions.directory, derived, configs):
        before.append(derived)  # else the next call would resume it
    # Without a mapping, the next call resumes the one that the name derives.
    kinds = dict.fromkeys(before if head is None else (head, *before), _EARLIER)
    kinds.update((marker.fork, _FORK) for marker in forks if marker.fork != head)
    kinds.update({it: _CURRENT for it in kinds if it == (head or derived)})
    for session_id, kind in kinds.items():
        is_current = kind == _CURRENT
        if not (only_earlier if is_current else session_id in others):
            size = owned_paths.size(owned_paths.paths(sessions.directory, session_id, configs))
            yield Doomed(room, agent, session_id, kind, size, tuple(configs))


def _require_unused(
    sessions: Store, mappings: Document, fleet: Fleet, doomed: list[Doomed], only_earlier: bool
) -> None:
    """Make sure that nobody else has any of them. Raises InUse."""
    owners = {(each.room, each.agent) for each in doomed}
    ids = {each.session_id for each in doomed}
    for room, entries in mappings.items():
        for agent, entry in entries.items():
            if entry["uuid"] in ids and (only_earlier or (room, agent) not in owners):
                raise confirming.InUse(
                    f"{stored_key(room, agent)} has {entry['uuid']}, too: link it to another"
                    " conversation, or forget it, first"
                )
    claudes = confirming.who_is_live(sessions.directory, () if only_earlier else owners, ids)
    claudes += fleet.live(() if only_earlier else owners)
    if claudes:
        raise confirming.InUse(f"{'; '.join(map(str, claudes))}: end it first")


def _delete(sessions: Store, doomed: list[Doomed]) -> None:
    """Delete files, then mappings: a mapping without files does no harm, and shows what is left."""
    for each in doomed:
        hosts.delete(sessions.directory, each.session_id)
        if not each.is_earlier:  # a copy that another host has is not resumed
            new = session_key.new_session_id()
            hosts.move_head(sessions.directory, each.room, each.agent, new)
    for each in doomed:
        fork_marker.drop(sessions.directory, each.session_id)
        owned_paths.delete(sessions.directory, each.session_id, each.configs)
    sessions.change(partial(_unmap, doomed=doomed))
    sessions.change(lambda _: ())  # the backup is what the store was before its last change
    sessions.locked(lambda _: _drop_from_history(sessions.directory, doomed))
    for room, agent in {(each.room, each.agent) for each in doomed if not each.is_earlier}:
        tidying.remove_links_of(sessions.directory, stored_key(room, agent))


def _unmap(mappings: Document, doomed: list[Doomed]) -> tuple[()]:
    """Remove the mappings of what is deleted.

    A room whose derived id another one has gets a new id: its next call would be in that one's
    conversation.
    """
    for each in doomed:
        entries = mappings.get(each.room, {})
        if entries.get(each.agent, {}).get("uuid") == each.session_id:
            del entries[each.agent]
    in_use = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    for room, agent in {(each.room, each.agent) for each in doomed if not each.is_earlier}:
        entries = mappings.setdefault(room, {})
        if agent not in entries and session_key.derive(stored_key(room, agent)) in in_use:
            entries[agent] = {"uuid": session_key.new_session_id(), "last_used": times.now()}
    return ()


def _drop_from_history(directory: str, doomed: list[Doomed]) -> None:
    ids = {each.session_id for each in doomed}
    past = history.everything(directory)
    for room, agent in {(room, agent) for room, agent, entry in past if entry["uuid"] in ids}:
        history.drop(directory, room, agent, ids)


def _show(doomed: list[Doomed]) -> None:
    rows = [
        (
            output.name(each.room),
            output.name(each.agent),
            printable(each.session_id),
            each.kind,
            output.size(each.size),
        )
        for each in doomed
    ]
    header = ("ROOM", "AGENT", "ID", "WHAT", "SIZE")
    for line in tables.table(header, rows, right={4}):
        click.echo(line, err=True)


def _told(doomed: list[Doomed]) -> str:
    """What is to be deleted, with sizes, for the question."""
    parts = []
    for room, agent in dict.fromkeys((each.room, each.agent) for each in doomed):
        own = [each for each in doomed if (each.room, each.agent) == (room, agent)]
        now = [each for each in own if not each.is_earlier]
        before = [each for each in own if each.kind == _EARLIER]
        forks = [each for each in own if each.kind == _FORK]
        said = [f"its conversation, {output.size(now[0].size)}"] if now else []
        if before:
            size = output.size(sum(each.size for each in before))
            said.append(f"{len(before)} earlier, {size}")
        if forks:
            size = output.size(sum(each.size for each in forks))
            said.append(f"{output.counted(len(forks), 'fork')}, {size}")
        parts.append(f"Room {output.name(room)}, agent {output.name(agent)}: {' and '.join(said)}")
    return "; ".join(parts)


def _count(doomed: list[Doomed]) -> str:
    return "1 conversation" if len(doomed) == 1 else f"{len(doomed):,} conversations"


def _as_json(each: Doomed) -> dict[str, object]:
    return {
        "room": each.room,
        "agent": each.agent,
        "session_id": each.session_id,
        "earlier": each.is_earlier,
        "fork": each.kind == _FORK,
        "size": each.size,
    }
