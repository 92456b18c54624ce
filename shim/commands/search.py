"""`claude-shim search`: find what was said in any room."""

from __future__ import annotations

import math
import re
import time
from contextlib import ExitStack
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from shim.base.messages import Failure, warn
from shim.base.plain_text import command_line, printable
from shim.base.session_key import DEFAULT_AGENT, stored_key
from shim.claude import said
from shim.claude.text_search import Query
from shim.cli import hosts, mapped, room_transcripts, searching
from shim.cli.excerpts import excerpts
from shim.cli.fleet_copies import Copies
from shim.cli.names import AGENT, ROOM, WHEN
from shim.cli.output import (
    age,
    as_json,
    bold,
    counted,
    dim,
    iso,
    local,
    name,
    progress,
    show_json,
    slow_progress,
)
from shim.cli.searching import Found, Hit, Scope
from shim.cli.tables import columns, width
from shim.opencode import titles
from shim.store import store

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from shim.cli.hosts import Fleet
    from shim.cli.mapped import Mapping
    from shim.cli.room_transcripts import RoomFile

_LIMIT = 50
# Lines of one message that are shown.
_LINES = 3
_INDENT = 2
# Cells below which a message begins below its time.
_NARROW = 72
_WHO = {said.TOOL: "call", said.RESULT: "result"}


@click.command("search")
@click.argument("words", nargs=-1, required=True)
@click.option("--regex", is_flag=True, help="Each of WORDS is a regular expression of Python's.")
@click.option("--tools", is_flag=True, help="Search calls of tools and their results, too.")
@click.option("--fleet", "in_fleet", is_flag=True, help="Search what other hosts have, too.")
@click.option("--room", type=ROOM, help="Only this room.")
@click.option("--agent", type=AGENT, help="Only this agent.")
@click.option("--since", type=WHEN, help="Only from then on: 2w, 2026-11-30, '2026-11-30 12:00'.")
@click.option("--until", type=WHEN, help="Only up to then.")
@click.option(
    "--limit",
    type=click.IntRange(1),
    default=_LIMIT,
    metavar="N",
    help="The newest N.  [default: 50]",
)
@as_json
def command(
    words: tuple[str, ...],
    regex: bool,
    tools: bool,
    in_fleet: bool,
    room: str | None,
    agent: str | None,
    since: float | None,
    until: float | None,
    limit: int,
    as_json: bool,
) -> None:
    """Find messages that have all WORDS, in any room, the newest first.

    Prompts, answers and titles are searched: those of every room's conversation, its forks and its
    earlier conversations, and what is retained of those that claude cleaned up.

    Case counts if WORDS have a capital letter. A word in quotes with a space in it is a phrase.

    \b
      claude-shim search heron
      claude-shim search "split the parser" tests --since 2w
      claude-shim search --regex 'E\\d{4}' --tools --room refactor
      claude-shim search heron --json | jq -r '.[].read'

    Below the hits of a conversation are the commands that show it from the oldest of them on, and
    that open it. In a pipe, each line that has the words is a row of columns separated by tabs.
    Ctrl-C shows what was found so far. Exit code 1: nothing was found.
    """
    query = _query(words, regex)
    opened = store.Store(store.directory())
    fleet = hosts.known(opened.directory)
    mappings = [
        it
        for it in mapped.every(fleet.merge(opened.mappings()))
        if room in (None, it.room) and agent in (None, it.agent)
    ]
    conversations = room_transcripts.conversations(opened.directory, mappings)
    files = room_transcripts.files(opened.directory, conversations)
    scope = Scope(
        -math.inf if since is None else since, math.inf if until is None else until, tools
    )
    found = Found(limit)
    _in_titles(mappings, query, scope, found)
    away = [it for it in mappings if fleet.is_elsewhere(it)]
    with ExitStack() as stack:
        if in_fleet and away:
            copies = stack.enter_context(Copies(opened.directory))
            fetched, away = _fetched(copies, away, fleet, files)
            files += fetched
        is_interrupted = _in_files(files, query, scope, found)
    hits = found.hits
    if as_json:
        show_json([_as_json(hit) for hit in hits])
    else:
        for line in _shown(hits):
            click.echo(line)
        if hits or not is_interrupted:
            for line in _hints(hits, found, mappings, files, room, agent):
                click.echo(line, err=True)
    if away:
        how = "they cannot be fetched" if in_fleet else "--fleet does"
        rooms = counted(len(away), "room")
        click.echo(f"Not searched: what other hosts have of {rooms}; {how}.", err=True)
    if is_interrupted:
        raise click.Abort
    if not hits:
        raise SystemExit(1)


def _query(words: Sequence[str], is_regex: bool) -> Query:
    if not all(word.strip() for word in words):
        raise click.UsageError("A word to search for is empty.")
    try:
        return Query(words, is_regex)
    except re.error as problem:
        raise click.UsageError(f"WORDS is no regular expression: {problem}.") from problem


def _fetched(
    copies: Copies, away: Sequence[Mapping], fleet: Fleet, here: Sequence[RoomFile]
) -> tuple[list[RoomFile], list[Mapping]]:
    """What other hosts have of rooms that they had last, and the rooms that cannot be fetched."""
    there = {file.conversation.session_id for file in here}
    found: list[RoomFile] = []
    failed: list[Mapping] = []
    with progress(away, len(away), "Fetching") as steps:
        for it in steps:
            its = fleet.rooms[it.room, it.agent]
            parts = {
                **dict.fromkeys(its.earlier, room_transcripts.EARLIER),
                **dict.fromkeys(its.forks, room_transcripts.FORK),
            }
            wanted = {each: part for each, part in parts.items() if each not in there}
            wanted[it.session_id] = room_transcripts.HEAD
            try:
                files = [
                    copies.fetch(room_transcripts.RoomConversation(it.room, it.agent, each, part))
                    for each, part in wanted.items()
                ]
            except Failure as problem:
                warn(f"{stored_key(it.room, it.agent)} cannot be fetched: {problem}")
                failed.append(it)
            else:
                found += filter(None, files)
    return found, failed


def _in_titles(mappings: Sequence[Mapping], query: Query, scope: Scope, found: Found) -> None:
    """Search the titles that OpenCode gave."""
    by_room = titles.by_room()
    for it in mappings:
        title = by_room.get(it.room)
        spans = query.spans(title) if title else []
        if title and spans and scope.has(it.used):
            its = room_transcripts.RoomConversation(
                it.room, it.agent, it.session_id, room_transcripts.HEAD
            )
            hit = Hit(its, None, it.used, said.Said(said.TITLE, title), spans, None)
            found.add(((it.session_id, title), 0), hit)


def _in_files(files: Sequence[RoomFile], query: Query, scope: Scope, found: Found) -> bool:
    """Search files; return whether Ctrl-C ended that."""
    try:
        with slow_progress(sum(file.size for file in files), "Searching") as advance:
            for path in searching.search(files, query, scope, found, advance):
                warn(f"cannot read {printable(path)}")
    except KeyboardInterrupt:
        return True
    return False


def _shown(hits: Sequence[Hit]) -> Iterator[str]:
    cells = columns()
    if not cells:
        if hits:
            yield "\t".join(("ROOM", "AGENT", "WHEN", "WHO", "TEXT"))
        for hit in hits:
            cells_of = (name(hit.conversation.room), name(hit.conversation.agent), local(hit.when))
            for line in excerpts(hit.said.text, hit.spans, None, _LINES):
                yield "\t".join((*cells_of, _who(hit), line))
        return
    now = time.time()
    for number, (its, group) in enumerate(groupby(hits, key=lambda hit: hit.conversation)):
        if number:
            yield ""
        own = list(group)
        part = "" if its.part == room_transcripts.HEAD else dim(f"  {_part(own[0])}")
        yield f"{bold(name(its.room))}  {bold(name(its.agent))}{part}"
        yield from _messages(own, cells, now)
        yield f"{' ' * _INDENT}{dim(_read(own[-1]))}"
        yield f"{' ' * _INDENT}{dim(_open(own[-1]))}"


def _messages(hits: Sequence[Hit], cells: int, now: float) -> Iterator[str]:
    ages = [age(now - hit.when) for hit in hits]
    first, second = max(map(len, ages)), max(len(_who(hit)) for hit in hits)
    for hit, ago in zip(hits, ages, strict=True):
        head = " " * _INDENT + f"{ago:{first}}  {_who(hit):{second}}  "
        indent = width(head)
        if cells < _NARROW:
            yield dim(head.rstrip())
            head, indent = " " * 2 * _INDENT, 2 * _INDENT
        for line in excerpts(hit.said.text, hit.spans, max(cells - indent, _INDENT), _LINES):
            yield (dim(head) if head.strip() else head) + line
            head = " " * indent


def _who(hit: Hit) -> str:
    return _WHO.get(hit.said.who, hit.said.who)


def _part(hit: Hit) -> str:
    its = hit.conversation
    what = "fork" if its.part == room_transcripts.FORK else "earlier conversation"
    return f"{what} {its.session_id[:8]}"


def _read(hit: Hit) -> str:
    """The command that shows a conversation from a hit on."""
    its = hit.conversation
    options = f"--since '{local(math.floor(hit.when))}'"
    if its.part == room_transcripts.EARLIER:
        options += f" --earlier {its.session_id[:8]}"
    return command_line("read", *_key(hit)).replace(" read ", f" read {options} ", 1)


def _open(hit: Hit) -> str:
    """The command that opens a conversation, or makes an earlier one the room's again."""
    its = hit.conversation
    if its.part == room_transcripts.EARLIER:
        return command_line("link", its.room, its.agent, its.session_id[:8])
    return command_line("open", *_key(hit))


def _key(hit: Hit) -> tuple[str, ...]:
    its = hit.conversation
    return (its.room,) if its.agent == DEFAULT_AGENT else (its.room, its.agent)


def _hints(
    hits: Sequence[Hit],
    found: Found,
    mappings: Sequence[Mapping],
    files: Sequence[RoomFile],
    room: str | None,
    agent: str | None,
) -> Iterator[str]:
    """Lines about what was found, and what was not."""
    if not mappings and (room is not None or agent is not None):
        yield "No room and agent of these names: see `claude-shim list`."
    elif not hits:
        those = len({file.conversation for file in files})
        yield f"No message matches, in {counted(those, 'conversation')}."
    elif found.is_cut:
        yield f"The newest {len(hits):,}. More: --limit {4 * len(hits)}."


def _as_json(hit: Hit) -> dict[str, Any]:
    its = hit.conversation
    return {
        "room": its.room,
        "agent": its.agent,
        "session_id": its.session_id,
        "conversation": its.part,
        "when": iso(hit.when),
        "who": hit.said.who,
        "text": hit.said.text,
        "lines": [click.unstyle(line) for line in excerpts(hit.said.text, hit.spans, None, _LINES)],
        "uuid": hit.uuid,
        "transcript": hit.path,
        "read": _read(hit),
        "open": _open(hit),
    }
