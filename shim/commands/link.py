"""`claude-shim link`: map a room and agent to another conversation."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from shim.base import plain_text, session_key
from shim.base.messages import warn
from shim.base.session_key import stored_key
from shim.claude import summary
from shim.cli import confirming, conversations, hosts, mapped, output, tables
from shim.cli.names import AGENT, ROOM
from shim.forks import belonging, fork_marker
from shim.locks import live_claudes
from shim.store import store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Collection

    from shim.store.document import Document

_LONGEST_PROMPT = 60
# Characters of the beginning of an id.
_SHORTEST = 4


@click.command("link")
@click.argument("room", type=ROOM)
@click.argument("agent", type=AGENT, metavar="[AGENT]", required=False)
@click.argument("conversation", metavar="ID", required=False)
@confirming.yes
@output.as_json
@click.pass_context
def command(
    context: click.Context,
    room: str,
    agent: str | None,
    conversation: str | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Have ROOM and AGENT resume another conversation.

    ID is a session id, its first 4 or more characters, or the path of a transcript. Claude must be
    able to resume it. Without AGENT, it is the room's only one, else `claude`.

    The conversation that the room had is kept; the command to return to it is printed. If a claude
    is live on either conversation, you are asked first; without a terminal, the exit code is 75. In
    a fleet, this holds on every host.

    --json prints the new mapping, and in `before` the id to link to return.

    \b
    Examples:
      claude-shim link refactor 6f2a
      claude-shim link refactor claude ~/.claude/projects/-home-ada-app/6f2a0d3e-….jsonl
    """
    if agent is None:
        raise click.MissingParameter(ctx=context, param_hint="'ID'", param_type="argument")
    sessions = Store(store.directory())
    fleet = hosts.reached(sessions.directory)
    mappings = fleet.merge(sessions.mappings(), room)
    if conversation is None:  # of two words, the second is it
        conversation, agent = agent, mapped.agent_of(mappings.get(room, {}))
    session_id, path = _named(conversation, sessions.directory, fleet.earlier(room, agent))
    this = stored_key(room, agent)
    entry = mappings.get(room, {}).get(agent)
    before = entry["uuid"] if entry is not None else session_key.derive(this)
    is_done = entry is not None and entry["uuid"] == session_id
    if is_done and as_json:
        _show_json(room, agent, session_id, path, None)
        return
    if is_done:
        click.echo(f"{_subject(this)} resumes {session_id} already.")
        return
    claudes = confirming.who_is_live(sessions.directory, [(room, agent)], [session_id])
    claudes += fleet.live([(room, agent)])
    confirming.confirm_beside(claudes, "Link it all the same?", yes)
    sessions.record(room, agent, session_id)
    _link_fork(sessions.directory, session_id, before)
    hosts.move_head(sessions.directory, room, agent, session_id)
    is_there = conversations.can_be_restored(before, sessions.directory)
    if as_json:
        _show_json(room, agent, session_id, path, before if is_there else None)
        _warn(mappings, this, session_id, claudes)
        return
    click.echo(f"{_subject(this)} now resumes {session_id}")
    _show(path)
    if is_there:
        click.echo(f"Before, it was {before}. To go back:")
        click.echo("  " + plain_text.command_line("link", room, agent, before))
    else:
        click.echo("Before, it had no conversation to resume. To go back:")
        click.echo("  " + plain_text.command_line("forget", room, agent))
    _warn(mappings, this, session_id, claudes)


def _link_fork(directory: str, session_id: str, before: str) -> None:
    """Where a fork becomes the head, make the former head and its other forks forks of it."""
    marker = fork_marker.of_fork(directory, session_id)
    if marker is not None and marker.of == before:
        belonging.make_head(directory, session_id)


def _named(text: str, store: str, of_the_fleet: Collection[str]) -> tuple[str, str | None]:
    """The conversation's session id and transcript; one of the fleet may have none here."""
    meant = [each for each in of_the_fleet if len(text) >= _SHORTEST and each.startswith(text)]
    if len(meant) == 1 and not conversations.can_be_restored(meant[0], store):
        return meant[0], None
    return conversations.named(text, store)


def _show_json(
    room: str, agent: str, session_id: str, path: str | None, before: str | None
) -> None:
    record = {"room": room, "agent": agent, "session_id": session_id, "transcript": path}
    output.show_json({**record, "before": before})


def _warn(
    mappings: Document,
    this: session_key.SessionKey,
    session_id: str,
    claudes: list[confirming.Live],
) -> None:
    for room, entries in mappings.items():
        for agent, entry in entries.items():
            if entry["uuid"] == session_id:
                warn(f"{stored_key(room, agent)} has this conversation, too")
    for claude in claudes:
        if claude.target == str(this) and claude.kind != live_claudes.ONE_SHOT:
            warn(f"{claude}: its further turns are not in this room")


def _subject(this: session_key.SessionKey) -> str:
    text = str(this)
    return text[:1].upper() + text[1:]


def _show(path: str | None) -> None:
    if path is None:
        click.echo("  the next call fetches it from the fleet")
        return
    seen = summary.read(path)
    age = output.age(time.time() - seen.written)
    where = plain_text.printable(seen.directory or path)
    click.echo(f"  {where}, last written {age}")
    if seen.first_prompt:
        prompt = tables.shortened(plain_text.printable(seen.first_prompt), _LONGEST_PROMPT)
        click.echo(f"  it began with: {prompt}")
