"""history.jsonl beside the store: the conversations that rooms and agents had before."""

import json
import os

from shim.safe_write import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

FILE_NAME: "Final" = "history.jsonl"
_KEPT_FOR_A_KEY = 20


def remember(directory: str, room: str, agent: str, entry: "dict[str, Any]") -> None:
    """Add an entry that a room and agent have no more; the last 20 of each are kept.

    Called with the store's lock held. Raises OSError.
    """
    path = f"{directory}/{FILE_NAME}"
    lines = _lines(path)
    lines.append({"room": room, "agent": agent, **entry})
    own = [line for line in lines if _is_of(line, room, agent)]
    for line in own[:-_KEPT_FOR_A_KEY]:
        lines.remove(line)
    if len(own) > _KEPT_FOR_A_KEY:
        replace(path, "".join(json.dumps(line) + "\n" for line in lines).encode())
        return
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        size = os.fstat(file).st_size
        # A line that a killed process left unfinished is closed, and passed over by who reads.
        torn = size > 0 and os.pread(file, 1, size - 1) != b"\n"
        os.write(file, (b"\n" if torn else b"") + json.dumps(lines[-1]).encode() + b"\n")
    finally:
        os.close(file)


def earlier(directory: str, room: str, agent: str) -> "list[dict[str, Any]]":
    """The entries that a room and agent had before, the oldest first. Raises OSError."""
    return [line for line in _lines(f"{directory}/{FILE_NAME}") if _is_of(line, room, agent)]


def _is_of(line: "dict[str, Any]", room: str, agent: str) -> bool:
    return line.get("room") == room and line.get("agent") == agent


def _lines(path: str) -> "list[dict[str, Any]]":
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return []
    lines = []
    for line in content.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            lines.append(entry)
    return lines
