"""`claude-shim read`: read a room's conversation."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

import click

from shim.base.messages import Failure, warn
from shim.base.plain_text import command_line
from shim.cli import following, hosts, mapped, reading, room_transcripts
from shim.cli.fleet_copies import Copies
from shim.cli.message_view import View
from shim.cli.names import AGENT, ROOM, WHEN
from shim.cli.output import as_json, iso, name, show_json
from shim.cli.reading import Extent
from shim.cli.room_transcripts import RoomConversation
from shim.cli.tables import columns
from shim.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.cli.hosts import Fleet
    from shim.cli.mapped import Mapping
    from shim.cli.reading import Utterance
    from shim.cli.room_transcripts import RoomFile

_FEWEST = 4
# Turns that are shown before what is said from now on.
_BEFORE = 1


@click.command("read")
@click.argument("room", type=ROOM)
@click.argument("agent", type=AGENT, required=False)
@click.option("--last", type=click.IntRange(1), metavar="N", help="Only the last N turns.")
@click.option("--since", type=WHEN, help="Only from then on: 2w, 2026-11-30, '2026-11-30 12:00'.")
@click.option("--earlier", metavar="ID", help="An earlier conversation or a fork of the room.")
@click.option("--tools", is_flag=True, help="Show calls of tools whole, and their results.")
@click.option("--follow", "-f", is_flag=True, help="Keep printing what is said, until Ctrl-C.")
@as_json
def command(
    room: str,
    agent: str | None,
    last: int | None,
    since: float | None,
    earlier: str | None,
    tools: bool,
    follow: bool,
    as_json: bool,
) -> None:
    """Read a room's conversation: who said what, and when.

    A call of a tool is one line. Turns that came from a fork are marked, and so is where claude
    compacted the conversation. Turns that a fork has and the conversation does not come last: the
    room's next call appends them. What was rewound is not shown.

    On a terminal, a long conversation is shown in your pager. In a pipe, it is Markdown.

    \b
      claude-shim read refactor --last 3
      claude-shim read refactor planner --since 2d --tools
      claude-shim read refactor --earlier 6f2a >earlier.md
      claude-shim read refactor --follow

    ID is a session id, or its first 4 or more characters: `show ROOM` lists the earlier ones.
    --follow starts with the last turn, and follows the room's forks, too. --json prints a list;
    with --follow, one object a line.
    """
    opened = store.Store(store.directory())
    fleet = hosts.known(opened.directory)
    mapping = _mapping(mapped.every(fleet.merge(opened.mappings())), room, agent)
    if follow and earlier is not None:
        raise click.UsageError("--follow follows the room's conversation, no --earlier one.")
    if follow:
        extent = Extent(last or (_BEFORE if since is None else None), since)
        _follow(opened, mapping, fleet, (extent, tools), as_json)
        return
    with Copies(opened.directory) as copies:
        is_away = earlier is None and fleet.is_elsewhere(mapping)
        file = _fetched(copies, mapping) if is_away else None
        file = file or _file(opened.directory, mapping, earlier)
        found = reading.messages(file, opened.directory, Extent(last, since), tools)
    if as_json:
        show_json([as_object(message) for message in found])
        return
    if not found:
        click.echo(f"Nothing was said {'since then' if since else 'yet'}.", err=True)
    _print(View(file.conversation.session_id, columns()).lines(found), mapping)


def _mapping(mappings: list[Mapping], room: str, agent: str | None) -> Mapping:
    """The mapping of a room and agent. Raises ClickException unless there is one."""
    found = mapped.in_room(mappings, room, agent)
    if len(found) > 1:
        agents = ", ".join(name(mapping.agent) for mapping in found)
        raise click.ClickException(f"room {room!r} has several agents: name one of {agents}")
    return found[0]


def _fetched(copies: Copies, mapping: Mapping) -> RoomFile | None:
    """The conversation as another host left it; None where it cannot be fetched."""
    head = RoomConversation(mapping.room, mapping.agent, mapping.session_id, room_transcripts.HEAD)
    try:
        return copies.fetch(head)
    except Failure as problem:
        warn(f"what another host has of this room cannot be fetched: {problem}")
        return None


def _file(directory: str, mapping: Mapping, earlier: str | None) -> RoomFile:
    """The file to read. Raises ClickException where there is none."""
    of_room = room_transcripts.conversations(directory, [mapping])
    wanted = of_room[0] if earlier is None else _earlier(of_room, earlier.lower(), mapping)
    file = next(iter(room_transcripts.files(directory, [wanted])), None)
    if file is None:
        raise click.ClickException(f"conversation {wanted.session_id} has no transcript")
    return file


def _earlier(of_room: list[RoomConversation], beginning: str, mapping: Mapping) -> RoomConversation:
    if len(beginning) < _FEWEST:
        raise click.UsageError(f"ID takes {_FEWEST} characters or more.")
    found = [each for each in of_room if each.session_id.startswith(beginning)]
    if len(found) != 1:
        how_many = "several conversations" if found else "no conversation"
        shown = command_line("show", mapping.room, mapping.agent)
        raise click.ClickException(
            f"{how_many} of the room with an id that begins with {beginning}: see `{shown}`"
        )
    return found[0]


def _follow(
    opened: store.Store, mapping: Mapping, fleet: Fleet, wanted: tuple[Extent, bool], as_json: bool
) -> None:
    with Copies(opened.directory) as copies:
        elsewhere = copies if fleet.is_configured else None
        follower = following.Follower(opened, mapping, *wanted, elsewhere)
        view = None if as_json else View(follower.session_id, columns())
        try:
            for messages in follower.messages():
                if view is None:
                    for message in messages:
                        show_json(as_object(message), in_a_line=True)
                else:
                    view.session_id = follower.session_id
                    for line in view.lines(messages):
                        click.echo(line)
                sys.stdout.flush()
        except KeyboardInterrupt:
            raise click.Abort from None


def _print(lines: Iterator[str], mapping: Mapping) -> None:
    """Print lines: on a terminal that they do not fit, in the user's pager."""
    cells = columns()
    if cells is None:
        click.echo(f"# {name(mapping.room)}, {name(mapping.agent)}\n")
        for line in lines:
            click.echo(line)
        return
    most = shutil.get_terminal_size().lines - 1
    first = list(islice(lines, most + 1))
    if len(first) <= most:
        for line in first:
            click.echo(line)
        return
    os.environ.setdefault("LESS", "-FRX")  # as git does
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # a pager may end before it has seen all
    with contextlib.suppress(BrokenPipeError):
        click.echo_via_pager(line + "\n" for line in chain(first, lines))


def as_object(message: Utterance) -> dict[str, Any]:
    """A message for programs."""
    return {
        "when": iso(message.when),
        "who": message.said.who,
        "text": message.said.text,
        "uuid": message.uuid,
        "session_id": message.session_id,
        "appended": not message.is_apart,
    }
