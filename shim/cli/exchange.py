"""Exports of mappings: their format, and how to merge one into the store."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from shim.base import plain_text, session_key, stamps
from shim.store import document

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shim.locks.live_claudes import Presence
    from shim.store.document import Document
    from shim.store.history import Head

FORMAT = "claude-shim mappings"
VERSION = 1

LARGEST = 1 << 26
"""Bytes of mappings that are read."""

_MOST_VALUES = 4_000_000
# An object takes as much memory as so many other values.
_WEIGHT_OF_AN_OBJECT = 4

ADDED = "added"
REPLACED = "replaced"
KEPT = "kept"
SKIPPED = "skipped"
RENEWED = "renewed"
UNCHANGED = "unchanged"
LIVE = "live"


@dataclass(frozen=True)
class Change:
    """The outcome for one mapping of an import."""

    room: str
    agent: str
    entry: dict[str, Any]
    """The imported entry."""
    before: dict[str, Any] | None
    """The store's entry."""
    action: str
    """`added`, `replaced`, `kept` (the store's entry was used later), `skipped` (another mapping
    exists), `renewed` (only its time of use changes), `unchanged`, or `live` (left alone)."""
    note: str = ""


def heads(mappings: Document) -> list[Head]:
    """The mappings as a list, sorted by room and agent."""
    return [
        (room, agent, entries[agent])
        for room, entries in sorted(mappings.items())
        for agent in sorted(entries)
    ]


def used(entry: dict[str, Any]) -> int:
    """When a mapping was last used, in nanoseconds since the epoch."""
    return stamps.nanoseconds(entry["last_used"]) or 0


def record(head: Head) -> dict[str, Any]:
    """A mapping as an export has it."""
    room, agent, entry = head
    rest = {name: value for name, value in entry.items() if name not in ("uuid", "last_used")}
    return {
        "room": room,
        "agent": agent,
        "session_id": entry["uuid"],
        "last_used": entry["last_used"],
        **rest,
    }


def dumped(mappings: Iterable[Head], earlier: Iterable[Head]) -> bytes:
    """An export, a line per mapping: the same mappings give the same bytes.

    Invisible characters of names are escaped: it can go to a terminal.
    """

    def lines(these: Iterable[Head]) -> str:
        records = [json.dumps(record(head), ensure_ascii=False) for head in these]
        return "[\n    " + ",\n    ".join(records) + "\n  ]" if records else "[]"

    text = (
        f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n'
        f'  "mappings": {lines(mappings)},\n  "earlier": {lines(earlier)}\n}}\n'
    )
    # Half a character, too, which JSON can write and UTF-8 cannot.
    return plain_text.visible_json(text).encode()


def parsed(data: bytes, source: str) -> tuple[list[Head], list[Head]]:
    """The mappings and earlier heads of an export, or the mappings of a sessions.json.

    Raises ClickException if it is neither, or holds an id that is no UUID.
    """
    require_bounded(data, source)
    try:
        content = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as problem:
        at = getattr(problem, "pos", getattr(problem, "start", 0))
        raise click.ClickException(f"{source} is no JSON: see character {at}") from problem
    try:
        if isinstance(content, dict) and isinstance(content.get("format"), str):
            found = _of_export(content)
        else:
            found = heads(document.parse(data)), []
    except document.InvalidDocument as problem:
        raise click.ClickException(
            f"{source} is neither an export nor a sessions.json: {problem}"
        ) from problem
    for room, agent, entry in (*found[0], *found[1]):
        if not session_key.is_session_id(entry["uuid"]):
            raise click.ClickException(
                f"{source}: room {room!r}, agent {agent!r}: {entry['uuid']!r} is no UUID"
            )
    return found


def require_bounded(data: bytes, source: str) -> None:
    """Refuse JSON that would take seconds and gigabytes to parse. Raises ClickException.

    400,000 mappings and conversations pass.
    """
    weight = data.count(b",") + data.count(b"[") + _WEIGHT_OF_AN_OBJECT * data.count(b"{")
    if len(data) > LARGEST or weight > _MOST_VALUES:
        raise click.ClickException(f"{source} has more mappings than claude-shim reads at once")


def merged(mappings: Document, imported: Iterable[Head], presence: Presence) -> list[Change]:
    """The outcome for each mapping: of two, the one used last wins.

    An imported time that is still to come counts as unknown: it wins over none.
    """
    changes = []
    now = time.time_ns()
    for room, agent, entry in imported:
        known = mappings.get(room, {}).get(agent)
        note = ""
        is_newer = known is None or (entry != known and used(known) < used(entry) <= now)
        if known is None:
            action = ADDED
        elif known["uuid"] == entry["uuid"]:
            action = RENEWED if is_newer else UNCHANGED
        elif is_newer:
            pid = presence.on(room, agent, known["uuid"])
            action, note = (REPLACED, "") if pid is None else (LIVE, live_note(pid))
        else:
            is_to_come = used(entry) > now
            action, note = KEPT, "its time is in the future" if is_to_come else "used later here"
        changes.append(Change(room, agent, entry, known, action, note))
    return changes


def live_note(pid: int) -> str:
    """Why an import leaves a mapping alone."""
    return f"claude {pid or 'in another container'} is live on it"


def apply(
    mappings: Document, changes: Iterable[Change], earlier: Iterable[Head], past: Iterable[Head]
) -> list[Head]:
    """Change the mappings; return the heads to record as earlier ones.

    `earlier` are the export's earlier heads, `past` the store's.
    """
    replaced: list[Head] = []
    older = list(earlier)
    for change in changes:
        if change.action in (ADDED, REPLACED):
            mappings.setdefault(change.room, {})[change.agent] = change.entry
        elif change.action == RENEWED:
            mappings[change.room][change.agent]["last_used"] = change.entry["last_used"]
        elif change.action == KEPT:
            older.append((change.room, change.agent, change.entry))
        if change.action == REPLACED and change.before is not None:
            replaced.append((change.room, change.agent, change.before))
    noted = {_identity(head) for head in (*past, *replaced, *heads(mappings))}
    new = {_identity(head): head for head in older if _identity(head) not in noted}
    return [*new.values(), *replaced]


def _identity(head: Head) -> tuple[str, str, str]:
    room, agent, entry = head
    return room, agent, entry["uuid"]


def _of_export(content: dict[str, Any]) -> tuple[list[Head], list[Head]]:
    if content["format"] != FORMAT:
        raise document.InvalidDocument(f"its format is {content['format']!r}")
    if content.get("version") != VERSION:
        raise document.InvalidDocument(
            f"its version is {content.get('version')!r}, and this claude-shim reads {VERSION}"
        )
    return _heads_of(content, "mappings"), _heads_of(content, "earlier")


def _heads_of(content: dict[str, Any], name: str) -> list[Head]:
    records = content.get(name, [])
    if not isinstance(records, list):
        raise document.InvalidDocument(f"{name!r} is no list")
    return [_head(item, f"{name}[{number}]") for number, item in enumerate(records)]


def _head(item: object, where: str) -> Head:
    if not isinstance(item, dict):
        raise document.InvalidDocument(f"{where} is no object")
    for field in ("room", "agent", "session_id", "last_used"):
        if not isinstance(item.get(field), str):
            raise document.InvalidDocument(f"{where} has no {field}")
    if stamps.nanoseconds(item["last_used"]) is None:
        raise document.InvalidDocument(f"{where} has no time of last use: {item['last_used']!r}")
    entry = {"uuid": item["session_id"], **item}
    for field in ("room", "agent", "session_id"):
        del entry[field]
    return item["room"], item["agent"], entry
