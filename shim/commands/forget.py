"""`claude-shim forget`: have the next call of a room start a new conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shim.base import plain_text, session_key, times
from shim.base.messages import warn
from shim.base.session_key import DEFAULT_AGENT, stored_key
from shim.claude import registry
from shim.cli import confirming, conversations, hosts, mapped, output
from shim.cli.names import AGENT, ROOM
from shim.locks import live_claudes
from shim.retention import pinning
from shim.store import store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Collection

    from shim.cli.hosts import Fleet
    from shim.store.document import Document
    from shim.store.history import Head


@click.command("forget")
@click.argument("room", type=ROOM)
@click.argument("agent", type=AGENT, required=False)
@confirming.yes
@output.as_json
def command(room: str, agent: str | None, yes: bool, as_json: bool) -> None:
    """Have the next call of ROOM and AGENT start a new conversation.

    Without AGENT, forget those of all agents of the room. The old conversations stay on disk; the
    command to return to each is printed. If a claude is live on one, you are asked first, because
    its next turn would bring it back; without a terminal, the exit code is 75. In a fleet, they are
    forgotten on every host.

    \b
    Examples:
      claude-shim forget refactor claude
      claude-shim forget oc-ses_dfc1f5de2ffe6xXUPOtEumJiyo

    --json prints a list of what was forgotten.
    """
    sessions = Store(store.directory())
    fleet = hosts.reached(sessions.directory)
    mappings = fleet.merge(sessions.mappings(), room)
    agents = [agent] if agent is not None else [*mappings.get(room, {}), DEFAULT_AGENT]
    heads = _heads(mappings, room, agents, _there(sessions, fleet))
    if not heads:
        raise click.ClickException(_nothing_of(mappings, room, agent))
    keys = [(room, agent) for _, agent, _ in heads]
    claudes = [*confirming.who_is_live(sessions.directory, keys), *fleet.live(keys)]
    confirming.confirm_beside(claudes, "Forget it all the same?", yes)
    there = _there(sessions, fleet)
    if claudes:  # one that has just started is yet to write what its name derives
        there |= {session_key.derive(stored_key(*names)) for names in keys}
    forgotten = _forget(sessions, room, [agent for _, agent in keys], there, fleet)
    if as_json:
        output.show_json([_as_json(head, sessions.directory) for head in forgotten])
    where = ", on whichever host," if fleet.is_configured else ""
    for _, name, entry in () if as_json else forgotten:
        new = f"its next call{where} starts a new conversation"
        click.echo(f"Forgot {stored_key(room, name)}: {new}.")
        if conversations.can_be_restored(entry["uuid"], sessions.directory):
            way_back = plain_text.command_line("link", room, name, entry["uuid"])
            click.echo(f"  to go back: {way_back}")
    _unpin(sessions, forgotten)
    for claude in claudes:
        if claude.kind != live_claudes.ONE_SHOT:
            warn(f"{claude}: its further turns are not in this room")


def _as_json(head: Head, directory: str) -> dict[str, object]:
    room, agent, entry = head
    return {
        "room": room,
        "agent": agent,
        "session_id": entry["uuid"],
        "last_used": entry["last_used"],
        "has_transcript": conversations.can_be_restored(entry["uuid"], directory),
    }


def _there(sessions: Store, fleet: Fleet) -> set[str]:
    """The conversations that a call can resume, or could once a live claude has written."""
    live_ones = registry.conversations().values()
    return conversations.session_ids(sessions.directory).union(live_ones, fleet.session_ids())


def _nothing_of(mappings: Document, room: str, agent: str | None) -> str:
    whose = f"room {room!r}" if agent is None else str(stored_key(room, agent))
    known = mappings.get(room, {})
    if known and agent in (None, *known):
        return f"{whose} is forgotten already: the next call starts a new conversation"
    close = mapped.close_to(agent, known) if known and agent else mapped.close_to(room, mappings)
    return f"{whose} has no conversation to forget{close}"


def _heads(
    mappings: Document, room: str, agents: Collection[str], there: Collection[str]
) -> list[Head]:
    """The conversation that each agent's next call would resume, if there is one."""
    heads = []
    for agent in dict.fromkeys(agents):
        entry = mappings.get(room, {}).get(agent)
        derived = session_key.derive(stored_key(room, agent))
        if entry is None and derived in there:
            entry = {"uuid": derived, "last_used": times.now()}
        # Forgotten before, and without a call since.
        is_fresh = entry is not None and entry["uuid"] not in there and derived in there
        if entry is not None and not is_fresh:
            heads.append((room, agent, entry))
    return heads


def _forget(
    sessions: Store, room: str, agents: Collection[str], there: Collection[str], fleet: Fleet
) -> list[Head]:
    """Remove the mappings of a room's agents, and return them.

    An agent without a mapping resumes the conversation that its name derives. If that one exists,
    the agent gets a mapping to a new session id instead; in a fleet it always does, because another
    host may have the conversation.
    """
    forgotten: list[Head] = []
    fresh: dict[str, str] = {}

    def change(mappings: Document) -> list[Head]:
        fleet.merge(mappings, room)
        forgotten[:] = _heads(mappings, room, agents, there)
        entries = mappings.setdefault(room, {})
        for _, agent, _ in forgotten:
            entries.pop(agent, None)
            if fleet.is_configured or session_key.derive(stored_key(room, agent)) in there:
                fresh[agent] = session_key.new_session_id()
                entries[agent] = {"uuid": fresh[agent], "last_used": times.now()}
        return forgotten

    sessions.change(change)
    for agent, session_id in fresh.items():
        hosts.move_head(sessions.directory, room, agent, session_id)
    return forgotten


def _unpin(sessions: Store, forgotten: list[Head]) -> None:
    """Leave the transcripts to claude's own clean-up, unless other rooms have them.

    A pin whose transcript claude has cleaned up stays: there is no other copy.
    """
    mappings = sessions.mappings()
    in_use = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    for _, _, entry in forgotten:
        if entry["uuid"] not in in_use and conversations.is_resumable(entry["uuid"]):
            pinning.unpin(sessions.directory, entry["uuid"])
