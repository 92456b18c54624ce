"""sessions.json as a parsed document: any layout is read, and a damaged one repaired."""

import json

from shim.base.stamps import nanoseconds
from shim.base.times import now
from shim.store.layout import quote

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    Entries = dict[str, dict[str, Any]]
    Document = dict[str, Entries]


class InvalidDocument(ValueError):
    """The document is not what the seed's program would accept; says in what."""


def parse(data: bytes) -> "Document":
    """Read a document. Fields that an entry has beyond the seed's two are kept.

    Raises Damaged where the seed's program would refuse it.
    """
    document: Document = _json(data)
    problems = list(_problems(document))
    if problems:
        raise InvalidDocument(problems[0])
    return document


def salvage(data: bytes) -> "Document":
    """What can still be read of a damaged document: whole entries of the seed's form.

    An entry whose time alone is wrong is kept, as used now.
    """
    try:
        document = _json(data)
    except InvalidDocument:
        document = _pieces(data)
    kept: Document = {}
    for room, entries in document.items() if isinstance(document, dict) else ():
        for agent, entry in entries.items() if isinstance(entries, dict) else ():
            if isinstance(entry, dict) and isinstance(entry.get("uuid"), str):
                if nanoseconds(entry.get("last_used")) is None:
                    entry["last_used"] = now()
                kept.setdefault(room, {})[agent] = entry
    return kept


def _pieces(data: bytes) -> "Document":
    """The entries that stand whole, in the canonical layout, in something that is no JSON."""
    document: Document = {}
    if b'"uuid"' not in data:
        return document
    room = None
    lines = data.decode("utf-8", "replace").split("\n")
    for at, line in enumerate(lines):
        try:
            if line.startswith('    "'):
                if room is not None and line.endswith(": {"):
                    entry = _entry(lines[at + 1 : at + 4])
                    document.setdefault(room, {})[json.loads(line[4:-3])] = entry
            elif line.startswith("  ") and line[2:3].strip():
                room = None  # any line as far in ends it
                if line.startswith('  "') and line.endswith(": {"):
                    room = json.loads(line[2:-3])
        except (ValueError, RecursionError):
            continue
    return document


def _entry(lines: "list[str]") -> "dict[str, Any]":
    """What three lines of the canonical layout say. Raises ValueError where they are others."""
    if len(lines) < 3 or not lines[2].startswith("    }"):
        raise ValueError
    entry: dict[str, Any] = json.loads(f"{{{lines[0]}{lines[1]}}}")
    if list(entry) != ["uuid", "last_used"]:
        raise ValueError
    return entry


def merge(torn: "Document", backup: "Document") -> "Document":
    """The mappings of both; of one that is in both, the one used last."""
    merged = {room: dict(entries) for room, entries in torn.items()}
    for room, entries in backup.items():
        for agent, entry in entries.items():
            known = merged.setdefault(room, {}).get(agent)
            then = nanoseconds(entry["last_used"]) or 0
            if known is None or then > (nanoseconds(known["last_used"]) or 0):
                merged[room][agent] = entry
    return merged


def dump(document: "Document") -> bytes:
    """The document in its canonical layout."""
    if not document:
        return b"{}"
    return b"{\n  %s\n}" % b",\n  ".join(
        b"%s: %s" % (quote(room), _dump_entries(entries)) for room, entries in document.items()
    )


def unused_since(mappings: "Document", cutoff: int) -> "Document":
    """The mappings last used before a time in nanoseconds of the epoch."""
    unused: Document = {}
    for room, entries in mappings.items():
        for agent, entry in entries.items():
            if (nanoseconds(entry["last_used"]) or 0) < cutoff:
                unused.setdefault(room, {})[agent] = entry
    return unused


def _json(data: bytes) -> "Any":
    try:
        # RecursionError: arrays nested deeper than Python's stack.
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as problem:
        at = getattr(problem, "pos", getattr(problem, "start", 0))
        raise InvalidDocument(f"it is no JSON, from character {at} on") from problem


def _refuse(constant: str) -> "NoReturn":
    raise ValueError(f"{constant} is no JSON")


def _problems(document: object) -> "Any":
    if not isinstance(document, dict):
        yield "its top level is no object"
        return
    for room, entries in document.items():
        if not isinstance(entries, dict):
            yield f"room {room!r} is no object"
            continue
        for agent, entry in entries.items():
            if not isinstance(entry, dict) or not isinstance(entry.get("uuid"), str):
                yield f"room {room!r}, agent {agent!r} has no uuid"
            elif nanoseconds(entry.get("last_used")) is None:
                yield f"room {room!r}, agent {agent!r} has no time of last use"


def _dump_entries(entries: "Entries") -> bytes:
    if not entries:
        return b"{}"
    return b"{\n    %s\n  }" % b",\n    ".join(
        b"%s: %s" % (quote(agent), _dump_entry(entry)) for agent, entry in entries.items()
    )


def _dump_entry(entry: "dict[str, Any]") -> bytes:
    if entry.keys() == {"uuid", "last_used"}:
        return b'{\n      "uuid": %s,\n      "last_used": %s\n    }' % (
            quote(entry["uuid"]),
            quote(entry["last_used"]),
        )
    text = json.dumps(entry, indent=2, ensure_ascii=False)
    return text.replace("\n", "\n    ").encode("utf-8", "replace")
