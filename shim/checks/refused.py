"""The rooms whose conversation the API refuses, and what may make them usable again."""

from __future__ import annotations

from typing import NamedTuple

from shim.base.plain_text import command_line, printable
from shim.store import history

MOST_NAMED = 5
"""Rooms that are named; the rest is counted."""
# Characters of an error.
_LONGEST = 120


class Refused(NamedTuple):
    """A room and agent whose conversation the API refuses."""

    room: str
    agent: str
    session_id: str
    error: str

    def __str__(self) -> str:
        error = printable(self.error)
        cut = error if len(error) <= _LONGEST else f"{error[:_LONGEST]}…"
        return f"the API refuses the conversation of {self.key}: {cut}"

    @property
    def key(self) -> str:
        """The room and agent, in words."""
        return f"room {self.room!r}, agent {self.agent!r}"

    def ways_out(self, store: str) -> str:
        """What may make the room usable, the mildest first. Raises OSError."""
        names = self.room, self.agent
        ways = [f"run `{command_line('open', *names)}` and enter /compact"]
        before = [str(entry["uuid"]) for entry in history.earlier(store, *names)]
        if before and before[-1] != self.session_id:
            link = command_line("link", *names, before[-1])
            ways.append(f"resume the conversation before it: `{link}`")
        ways.append(f"start a new one: `{command_line('forget', *names)}`")
        return "; or ".join(ways)
