"""Transcripts as claude writes them, and what claude would send of them, for tests without it."""

from __future__ import annotations

import itertools
import json
import uuid
from typing import TYPE_CHECKING, Any

from shim.claude import lines
from shim.claude.chain import Chain

if TYPE_CHECKING:
    from pathlib import Path

Entry = dict[str, Any]

_clock = itertools.count()


def stamp() -> str:
    """A time a millisecond behind the last one."""
    seconds, thousandths = divmod(next(_clock), 1000)
    minutes, seconds = divmod(seconds, 60)
    return f"2026-11-30T12:{minutes:02d}:{seconds:02d}.{thousandths:03d}Z"


class Writer:
    """A claude that writes into a transcript, behind what is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    @property
    def session_id(self) -> str:
        return self.path.stem

    def leaf(self) -> str | None:
        """The id of the line that the next one follows."""
        return chain(self.path).leaf

    def write(self, *entries: Entry) -> None:
        """Append entries as they are."""
        with self.path.open("ab") as file:
            file.writelines(json.dumps(e, separators=(",", ":")).encode() + b"\n" for e in entries)

    def row(self, kind: str, parent: str | None, /, **fields: Any) -> Entry:
        """A line of the conversation behind another one."""
        entry: Entry = {"parentUuid": parent, "isSidechain": False, "type": kind, **fields}
        return entry | {
            "uuid": str(uuid.uuid4()),
            "timestamp": stamp(),
            "sessionId": self.session_id,
        }

    def user(self, parent: str | None, content: object, **fields: Any) -> Entry:
        message = {"role": "user", "content": content}
        return self.row("user", parent, message=message, **fields)

    def assistant(
        self, parent: str | None, stop_reason: str | None, *blocks: Entry, **fields: Any
    ) -> Entry:
        message = {
            "id": f"msg_{uuid.uuid4().hex}",
            "role": "assistant",
            "model": "m",
            "content": [*blocks],
            "stop_reason": stop_reason,
        }
        return self.row("assistant", parent, message=message, **fields)

    def ask(self, prompt: str) -> str:
        """Write a prompt that is not answered yet; its id."""
        asked = self.user(self.leaf(), prompt)
        self.write(asked, self.row("attachment", asked["uuid"], attachment={"type": "date"}))
        return str(asked["uuid"])

    def answer(self, said: str) -> None:
        """Answer what was asked last."""
        self.write(self.assistant(self.leaf(), "end_turn", {"type": "text", "text": said}))

    def say(self, prompt: str, said: str = "") -> None:
        """Have a turn."""
        self.ask(prompt)
        self.answer(said or f"heard: {prompt}")

    def rewind(self, leaf: str | None) -> None:
        """Go back to behind a line, as `/rewind` does."""
        note = {"type": "last-prompt", "leafUuid": leaf, "explicit": True}
        self.write({**note, "sessionId": self.session_id})

    def note(self) -> None:
        """Write what claude notes between turns, which belongs to no chain."""
        self.write({"type": "last-prompt", "leafUuid": self.leaf(), "sessionId": self.session_id})


def chain(path: Path) -> Chain:
    """All rows of a transcript."""
    with lines.open_regular(str(path)) as file:
        return Chain(file, str(path))


def history(path: Path) -> list[str]:
    """The prompts that claude would send, in order: those behind the last compaction."""
    whole = chain(path)
    up: list[str] = []
    uuid_of, seen = whole.leaf, set()
    while uuid_of in whole.rows and uuid_of not in seen:
        seen.add(uuid_of)
        row = whole.rows[uuid_of]
        if row.entry.get("subtype") == "compact_boundary":
            break
        if row.kind in lines.BEGINNINGS:
            up.append(lines.prompt(row.entry) or lines.text(row.entry))
        uuid_of = row.entry.get("parentUuid")
    return up[::-1]
