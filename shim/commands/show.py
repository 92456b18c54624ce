"""`claude-shim show`: show a room's conversation."""

from __future__ import annotations

import math
import os
import posix
import time
from typing import TYPE_CHECKING, Any

import click

from shim.base.plain_text import printable, shell_word
from shim.call import identity
from shim.cli import hosts, mapped
from shim.cli.names import AGENT, ROOM
from shim.cli.output import (
    age,
    as_json,
    at_home,
    bold,
    counted,
    dim,
    doubtful,
    iso,
    local,
    name,
    show_json,
    size,
    span,
)
from shim.cli.room_forks import RoomFork, forks_of
from shim.cli.tables import columns, shortened, width
from shim.store import history, store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.claude.summary import Summary
    from shim.cli.hosts import Fleet
    from shim.cli.mapped import Mapping, Survey
    from shim.fleet.overview import RemoteClaude
    from shim.locks.live_claudes import Claude

    Transcript = tuple[str, Summary]
    Earlier = list[tuple[dict[str, Any], Transcript | None]]

# Cells: of the labels, and of a prompt that is shown elsewhere than on a terminal.
_LABEL = 12
_PROMPT = 200


@click.command("show")
@click.argument("room", type=ROOM, required=False)
@click.argument("agent", type=AGENT, required=False)
@as_json
def command(room: str | None, agent: str | None, as_json: bool) -> None:
    """Show a room's conversation: who has it, its first and last turns, and where it is stored.

    Forks and earlier conversations of the room follow; `link` returns to one of them. `read` shows
    all that was said, and `search` finds what was said in any room. Without AGENT, it is the room's
    only one, else `claude`, else all of them. An agent without a room has the room "".
    Without ROOM, show the room and agent that a claude would have here.

    The last line is a command that resumes the conversation without the shim. Use it only while no
    claude is live on it: two at once lose turns.

    \b
      claude-shim show refactor
      claude-shim show "" reviewer
      claude-shim show refactor claude --json | jq -r '.[].transcript'

    --json prints a list of objects, even for one agent.
    """
    if room is None:
        room, agent = _here()
    opened = store.Store(store.directory())
    fleet = hosts.known(opened.directory)
    mappings = mapped.every(fleet.merge(opened.mappings()))
    wanted = mapped.in_room(mappings, room, agent)
    heads = [_earlier(opened, fleet, mapping) for mapping in wanted]
    session_ids = [head["uuid"] for earlier in heads for head in earlier]
    survey = mapped.Survey(opened.directory, [*session_ids, *(m.session_id for m in wanted)])
    described = [
        (mapping, [(head, survey.transcript(head["uuid"])) for head in earlier])
        for mapping, earlier in zip(wanted, heads, strict=True)
    ]
    if as_json:
        show_json(
            [
                {**_as_json(mapping, survey, earlier), **fleet.as_json(mapping)}
                for mapping, earlier in described
            ]
        )
        return
    for number, (mapping, earlier) in enumerate(described):
        if number:
            click.echo()
        for line in _lines(mapping, survey, fleet, earlier):
            click.echo(line)
    others = [m.agent for m in mappings if m.room == room and m not in wanted]
    if others and agent is None:
        click.echo(f"Other agents of this room: {', '.join(map(name, others))}", err=True)


def _here() -> tuple[str, str]:
    """The room and agent that a claude would have here. Raises UsageError if there are none."""
    found = identity.resolve(posix.environ, b"", identity.opencode_names(posix.environ))
    if found is None:
        raise click.UsageError("The environment names no room and no agent: give a ROOM.")
    return found.key.room, found.key.agent


def _earlier(opened: store.Store, fleet: Fleet, mapping: Mapping) -> list[dict[str, Any]]:
    """The earlier heads of a room and agent, last used first; those of other hosts come last.

    Their time is unknown here.
    """
    heads = history.earlier(opened.directory, mapping.room, mapping.agent)
    known = {mapping.session_id, *(head["uuid"] for head in heads)}
    others = [it for it in fleet.earlier(mapping.room, mapping.agent) if it not in known]
    own = [head for head in reversed(heads) if head["uuid"] != mapping.session_id]
    return [*own, *({"uuid": it, "last_used": None} for it in reversed(others))]


def _lines(mapping: Mapping, survey: Survey, fleet: Fleet, earlier: Earlier) -> Iterator[str]:
    now = time.time()
    claudes = survey.claudes(mapping)
    transcript = survey.conversation(mapping)
    yield _line("Room", bold(name(mapping.room)))
    yield _line("Agent", bold(name(mapping.agent)))
    yield _line("Id", printable(mapping.session_id))
    yield _line("Last used", f"{age(now - mapping.used)} ({local(mapping.used)})")
    for claude in claudes:
        yield _line("Live", _who(claude, now))
        if claude.waiting:
            yield _line("Waiting", ", ".join(map(str, claude.waiting)))
    for remote in fleet.claudes(mapping):
        yield _line("Live", _who_elsewhere(remote, now))
    if not claudes and not fleet.claudes(mapping):
        yield _line("Live", "no")
    if host := fleet.host(mapping):
        is_away = fleet.is_elsewhere(mapping)
        yield _line("Host", f"{printable(host)}{'' if is_away else ', this one'}")
    if transcript is None and fleet.is_elsewhere(mapping):
        yield _line("Transcript", "on another host: the next call fetches it")
    else:
        yield from _conversation(transcript, bool(claudes), now)
    if transcript is not None and survey.is_pinned(transcript[0]):
        yield _line("Kept", "claude's clean-up deleted it; the next call restores it")
    label = "Forks"
    for fork in forks_of(survey.directory, mapping.session_id):
        yield _line(label, _fork(fork, now))
        label = ""
    for number, (head, past) in enumerate(earlier):
        label = "Earlier" if not number else ""
        for line in _past(head, past, now):
            yield _line(label, line)
            label = ""
    if transcript is not None:
        yield _line("Resume", _resume(mapping, survey, *transcript))


def _conversation(transcript: Transcript | None, is_live: bool, now: float) -> Iterator[str]:
    if transcript is None:
        is_to_come = (
            "claude has not written it yet" if is_live else "the next call starts a new one"
        )
        yield _line("Transcript", doubtful(f"none: {is_to_come}"))
        return
    path, seen = transcript
    yield _line("Transcript", printable(path))
    yield _line("Project", mapped.project(transcript, is_live))
    if seen.started is not None:
        yield _line("Started", f"{age(now - seen.started)} ({local(seen.started)})")
    yield _line("Written", f"{age(now - seen.written)} ({local(seen.written)})")
    yield _line("Turns", mapped.turns(seen))
    yield _line("Size", size(seen.size))
    yield _line("First", _prompt(seen.first_prompt, seen))
    yield _line("Last", _prompt(seen.last_prompt, seen))


def _line(label: str, text: str) -> str:
    return dim(label) + " " * (_LABEL - width(label)) + text


def _who(claude: Claude, now: float) -> str:
    parts = [f"{mapped.kind(claude)}, claude {claude.pid or 'in another container'}"]
    if claude.process is not None:
        process = claude.process
        parts.append(f"for {span(now - process.since)}, {size(process.memory)}")
        if process.directory is not None:
            parts.append(f"in {at_home(process.directory)}")
    return ", ".join(parts)


def _who_elsewhere(remote: RemoteClaude, now: float) -> str:
    who = f"claude {remote.pid} on {printable(remote.hostname)}"
    return f"{remote.kind}, {who}, for {span(now - remote.since)}"


def _prompt(text: str | None, seen: Summary) -> str:
    if text is None:
        return dim("none" if seen.is_exact else "unknown: not all of it was read")
    cells = columns()
    return shortened(printable(text), max(cells - _LABEL, _LABEL) if cells else _PROMPT)


def _past(head: dict[str, Any], transcript: Transcript | None, now: float) -> Iterator[str]:
    """An earlier conversation: its id, turns and time, and its first and last prompt."""
    used = mapped.seconds(head.get("last_used"))
    count = mapped.turns(transcript[1]) if transcript else ""
    what = f"{count} turn{'s' if count != '1' else ''}" if transcript else "no transcript"
    parted = f"until {age(now - used)}" if used else "from the fleet"
    line = f"{printable(head['uuid'])}, {what}, {parted}"
    at = f" ({local(used)})" if used else ""
    yield line if _LABEL + width(line + at) > (columns() or math.inf) else line + at
    if transcript is not None:
        _, seen = transcript
        first, last = _said(seen.first_prompt, "first"), _said(seen.last_prompt, "last")
        yield from filter(None, (first, last if seen.last_prompt != seen.first_prompt else ""))


def _fork(fork: RoomFork, now: float) -> str:
    """A fork: its id, turns and time, and whether its turns are in the room's conversation."""
    count = mapped.turns(fork.seen)
    turns = f"{count} turn{'s' if count != '1' else ''}"
    there = f"{counted(fork.lacking, 'turn')} to append" if fork.lacking else "all turns appended"
    return f"{fork.session_id}, {turns}, written {age(now - fork.seen.written)}, {there}"


def _said(text: str | None, when: str) -> str:
    if text is None:
        return ""
    cells = columns()
    cut = shortened(printable(text), max(cells - _LABEL - 9, _LABEL) if cells else _PROMPT)
    return f"  {dim(when)}{' ' * (7 - len(when))}{cut}"


def _resume(mapping: Mapping, survey: Survey, path: str, seen: Summary) -> str:
    """The command that resumes a conversation without the shim, from its directory if it exists."""
    claude = "NSED_SHIM_DISABLE=1 claude --resume"
    if seen.directory is None or not os.path.isdir(seen.directory):
        return f"{claude} {shell_word(path)}"
    is_by_path = survey.is_pinned(path) or mapped.foreign_directory(path)
    named = path if is_by_path else mapping.session_id
    return f"cd {shell_word(seen.directory)} && {claude} {shell_word(named)}"


def _as_json(mapping: Mapping, survey: Survey, earlier: Earlier) -> dict[str, Any]:
    transcript = survey.conversation(mapping)
    _, seen = transcript or (None, None)
    return {
        **mapped.as_json(mapping, survey.claudes(mapping), transcript),
        "started": seen and iso(seen.started),
        "written": seen and iso(seen.written),
        "first_prompt": seen and seen.first_prompt,
        "last_prompt": seen and seen.last_prompt,
        "forks": [
            {
                "session_id": fork.session_id,
                "transcript": fork.path,
                "turns": fork.seen.turns,
                "lacking": fork.lacking,
            }
            for fork in forks_of(survey.directory, mapping.session_id)
        ],
        "earlier": [_past_as_json(head, past) for head, past in earlier],
        "resume": transcript and _resume(mapping, survey, *transcript),
    }


def _past_as_json(head: dict[str, Any], transcript: Transcript | None) -> dict[str, Any]:
    path, seen = transcript or (None, None)
    return {
        "session_id": head["uuid"],
        "last_used": iso(mapped.seconds(head.get("last_used")) or None),
        "transcript": path,
        "turns": seen and seen.turns,
        "first_prompt": seen and seen.first_prompt,
        "last_prompt": seen and seen.last_prompt,
    }
