"""A host of a fleet without claude or sync daemon: a conversation and what happens to it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from shim.fleet import notes
from shim.fleet.conversation import FleetConversation, Surroundings
from shim.fleet.host import Host
from shim.fleet.local_locks import LocalLocks
from shim.fleet.notes import Note

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.backend import MemoryBackend

U = "11111111-1111-4111-8111-111111111111"
PID = os.getpid()


def line(name: str, kind: str = "user") -> str:
    entry = {"type": kind, "uuid": name, "message": {"role": kind, "content": name}}
    return json.dumps(entry, separators=(",", ":")) + "\n"


def turn(name: str) -> str:
    return line(name) + line(f"answer to {name}", "assistant")


class Machine:
    """A host with a store and a project of its own."""

    def __init__(self, root: Path, backend: MemoryBackend, name: str) -> None:
        self.store = root / name / "store"
        self.project = root / name / "projects" / "p"
        self.store.mkdir(parents=True)
        self.project.mkdir(parents=True)
        self.backend = backend
        self.this_host = Host(name, f"host {name}", "1")
        self.forks: list[Note] = []
        backend.alive[name] = {}
        self.local_locks = LocalLocks(str(self.store))
        self.start_again()

    def start_again(self, remembers: bool = False) -> None:
        """Have another sync daemon, which remembers what was noted, or nothing."""
        note = notes.read(notes.directory(str(self.store)), U) if remembers else Note(U)
        note.room, note.agent, note.transcript = "r", "a", str(self.transcript)
        self.it = FleetConversation(self._surroundings(), note)

    def conversation(self, session_id: str) -> FleetConversation:
        """Another conversation that is noted here."""
        note = notes.read(notes.directory(str(self.store)), session_id)
        return FleetConversation(self._surroundings(), note)

    def _surroundings(self) -> Surroundings:
        return Surroundings(
            self.backend, self.this_host, str(self.store), self.local_locks, self.forks.append
        )

    def close(self) -> None:
        """Close what is open."""
        self.local_locks.close()

    @property
    def transcript(self) -> Path:
        return self.project / f"{U}.jsonl"

    def says(self, text: str) -> None:
        with self.transcript.open("a") as file:
            file.write(text)

    @property
    def said(self) -> str:
        return self.transcript.read_text() if self.transcript.exists() else ""

    async def begins(self) -> None:
        await self.it.acquire(PID, "one-shot")
        self.it.claudes[PID] = "one-shot"

    async def ends(self) -> None:
        self.it.claudes.clear()
        await self.it.finish()

    async def turn(self, text: str) -> None:
        await self.begins()
        self.says(text)
        await self.ends()

    def other_conversations(self) -> list[str]:
        return [path.read_text() for path in self.project.glob("*.jsonl") if path.stem != U]
