"""How a line of one conversation is written into another, and the files that it names."""

from __future__ import annotations

import json
import os

from shim.claude import lines, transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shim.claude.chain import Row
    from shim.claude.lines import Entry

_SUBAGENTS = "subagents"


class Passage:
    """The way from one transcript to another: session ids, and the directories of sidecars."""

    def __init__(self, source: str, target: str) -> None:
        self.source = transcripts.sidecars_of(source)
        self.target = transcripts.sidecars_of(target)
        self.session_id = transcripts.session_id_of(target)
        self._from = transcripts.session_id_of(source)
        self._renamed = (_quoted(self.source + "/"), _quoted(self.target + "/"))

    def line(self, row: Row, parent: str | None) -> bytes:
        """A row as the target has it: behind another parent, its sidecars in their new place.

        It says where it was said first, in a field that claude does not know and keeps.
        """
        entry: Entry = {**row.entry, "parentUuid": parent, "sessionId": self.session_id}
        entry.pop("forkedFrom", None)
        entry.setdefault(lines.FIRST_SAID_IN, self._from)
        message = entry.get("message")
        if isinstance(message, dict) and isinstance(message.get("content"), list):
            said = [part for part in message["content"] if not lines.is_thought(part)]
            entry["message"] = {**message, "content": said}
        return _dumped(entry).replace(*self._renamed) + b"\n"

    def sidecars(self, rows: Iterable[Row]) -> Iterator[tuple[str, str]]:
        """The files that rows name, each with the place of its copy: tool results, subagents.

        Those that are missing, or copied already, are left out.
        """
        if not os.path.isdir(self.source):
            return
        prefix = self._renamed[0]
        content = [row.line.content for row in rows if prefix in row.line.content]
        agents = {str(found) for row in rows if (found := _agent_of(row.entry))}
        for where, _, names in os.walk(self.source):
            for name in names:
                path = f"{where}/{name}"
                is_of_agent = f"/{_SUBAGENTS}/" in path and any(each in name for each in agents)
                if is_of_agent or any(_quoted(path) in each for each in content):
                    copy = self.target + path.removeprefix(self.source)
                    if not os.path.lexists(copy) and os.path.isfile(path):
                        yield path, copy


def checkpoint(session_id: str, leaf: str, prompt: str) -> bytes:
    """The line by which claude itself notes where to resume a conversation."""
    note = {"type": "last-prompt", "lastPrompt": prompt, "leafUuid": leaf, "sessionId": session_id}
    return _dumped(note) + b"\n"


def _agent_of(entry: Entry) -> object:
    result = entry.get("toolUseResult")
    return result.get("agentId") if isinstance(result, dict) else None


def _dumped(entry: Entry) -> bytes:
    """JSON as claude writes it."""
    try:
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:  # half a character, which JavaScript's strings can hold
        return json.dumps(entry, separators=(",", ":")).encode()


def _quoted(path: str) -> bytes:
    """A path as it stands inside a string of JSON."""
    return json.dumps(path, ensure_ascii=False)[1:-1].encode("utf-8", "surrogateescape")
