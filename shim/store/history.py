"""history.jsonl beside the store: the earlier heads of each room and agent."""

import json
import os

from shim.base import stamps
from shim.base.files import replace
from shim.base.json_object import json_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Iterable
    from typing import Any, Final

    from shim.store.document import Document

    Head = tuple[str, str, dict[str, Any]]
    """A room, an agent, and their entry in the store."""

FILE_NAME: "Final" = "history.jsonl"
_GONE_KEPT_FOR_A_KEY = 20


def remember(directory: str, room: str, agent: str, entry: "dict[str, Any]") -> None:
    """Add an entry that a room and agent no longer have, in the place of an earlier one of its id.

    Called with the store's lock. Raises OSError.
    """
    remember_all(directory, [(room, agent, entry)])


def remember_all(directory: str, heads: "Iterable[Head]") -> None:
    """Add many earlier heads at once, as `remember` adds one."""
    path = f"{directory}/{FILE_NAME}"
    added = [{"room": room, "agent": agent, **entry} for room, agent, entry in heads]
    own: dict[tuple[str, str], list[dict[str, Any]]] = {_key(line): [] for line in added}
    lines = [*_lines(path), *added]
    for line in lines:
        if _key(line) in own:
            own[_key(line)].append(line)
    kept = {id(line) for each in own.values() for line in _last(each)}
    left = [line for line in lines if _key(line) not in own or id(line) in kept]
    if len(left) < len(lines):
        replace(path, _text(left))
    elif added:
        _append(path, _text(added))


def earlier(directory: str, room: str, agent: str) -> "list[dict[str, Any]]":
    """The earlier entries of a room and agent, one a conversation, the oldest first.

    Raises OSError.
    """
    return _last(line for line in _lines(f"{directory}/{FILE_NAME}") if _key(line) == (room, agent))


def everything(directory: str) -> "list[Head]":
    """Every earlier entry, one a conversation of a key, the oldest first. Raises OSError."""
    lines = _last(_lines(f"{directory}/{FILE_NAME}"))
    return [(line.pop("room"), line.pop("agent"), line) for line in lines]


def drop(directory: str, room: str, agent: str, session_ids: "Container[str]") -> None:
    """Drop earlier heads of a room and agent. Called with the store's lock. Raises OSError."""
    path = f"{directory}/{FILE_NAME}"
    lines = _lines(path)
    left = [
        line for line in lines if _key(line) != (room, agent) or line["uuid"] not in session_ids
    ]
    if len(left) < len(lines):
        replace(path, _text(left))


def forget(directory: str, mappings: "Document", there: "Container[str]") -> None:
    """Drop entries whose conversations are gone, but the last 20 of each key that has a mapping.

    `there` are the conversations that are not. Called with the store's lock held. Raises OSError.
    """
    path = f"{directory}/{FILE_NAME}"
    lines = _lines(path)
    gone: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for line in _last(lines):
        if line["uuid"] not in there and line["agent"] in mappings.get(line["room"], {}):
            gone.setdefault(_key(line), []).append(line)
    kept = {id(line) for each in gone.values() for line in each[-_GONE_KEPT_FOR_A_KEY:]}
    left = [line for line in lines if line["uuid"] in there or id(line) in kept]
    if len(left) < len(lines):
        replace(path, _text(left))


def _last(lines: "Iterable[dict[str, Any]]") -> "list[dict[str, Any]]":
    """The last line of each conversation of a key, in the order of their use."""
    # They stand in that order, but for those that were imported; there can be several of one
    # conversation, written before they were replaced.
    in_order = sorted(lines, key=lambda line: stamps.nanoseconds(line.get("last_used")) or 0)
    last: dict[tuple[str, str, str], dict[str, Any]] = {}
    for line in in_order:
        of_one = (*_key(line), line["uuid"])
        last.pop(of_one, None)
        last[of_one] = line
    return list(last.values())


def _key(line: "dict[str, Any]") -> tuple[str, str]:
    return line["room"], line["agent"]


def _text(lines: "Iterable[dict[str, Any]]") -> bytes:
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


def _append(path: str, text: bytes) -> None:
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        # A line that a killed process left unfinished is closed, and passed over by who reads.
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        rest = memoryview((b"\n" if torn else b"") + text)
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def _lines(path: str) -> "list[dict[str, Any]]":
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return []
    lines = []
    for line in content.splitlines():
        entry = json_object(line) if line.startswith(b"{") else {}
        if all(isinstance(entry.get(name), str) for name in ("room", "agent", "uuid")):
            lines.append(entry)
    return lines
