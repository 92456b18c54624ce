"""Two hosts in any order of turns, failures and deaths: nothing is lost, and nothing is mixed.

Each turn remembers what its claude knew when it was said. Wherever it turns up, that and nothing
else stands before it.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from shim.base.messages import Failure
from shim.fleet import conversation, log
from shim.fleet.log import Held
from shim.fleet.snapshots import Snapshot
from tests.support.backend import Memory, MemoryBackend
from tests.support.machine import PID, Machine, turn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shim.fleet.backend import Stored

ACTS = ("begin", "say", "flush", "end", "kill daemon", "forget", "cut off", "reach", "freeze")
steps = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(ACTS)), max_size=40)


class Walk:
    """Two machines, and what each turn's claude knew."""

    def __init__(self, root: Path) -> None:
        self.memory = Memory()
        self.machines = {
            name: Machine(root, MemoryBackend(self.memory), name) for name in ("a", "b")
        }
        self.known: dict[str, str] = {}
        self.flushed: set[str] = set()

    async def step(self, name: str, act: str) -> None:
        machine = self.machines[name]
        it, is_live = machine.it, bool(machine.it.claudes)
        if act == "begin" and not is_live:
            with contextlib.suppress(Held):
                try:
                    await machine.begins()
                except Failure:  # it goes on alone
                    it.note.owes_data, it.claudes[PID] = True, "one-shot"
                    it.remember()
        elif act == "say" and is_live:
            said = f"{len(self.known)}"
            self.known[said] = machine.said
            machine.says(turn(said))
        elif act == "flush" and is_live:
            await self.flush(machine)
        elif act == "end" and is_live:
            it.claudes.clear()
            await self.try_to(machine.it.finish())
        elif act in ("kill daemon", "forget"):
            claudes = it.claudes
            machine.start_again(remembers=act == "kill daemon")
            machine.it.claudes = claudes
        elif act in ("cut off", "reach"):
            machine.backend.why = "away" if act == "cut off" else ""
            self.memory.alive[name] = {}
        elif act == "freeze":
            self.memory.alive.pop(name, None)

    async def flush(self, machine: Machine) -> None:
        with contextlib.suppress(Failure):
            await machine.it.sync()
            self.flushed |= {name for name in self.known if turn(name) in machine.said}
            machine.it.remember()

    async def try_to(self, work: object) -> None:
        with contextlib.suppress(Failure):
            await work  # type: ignore[misc]

    async def end(self) -> None:
        """Everybody comes back, ends, and begins once more."""
        for machine in self.machines.values():
            machine.backend.why = ""
            machine.it.claudes.clear()
        for machine in [*self.machines.values(), *self.machines.values()]:
            await self.try_to(machine.it.finish())
            with contextlib.suppress(Held):
                await machine.begins()
                await machine.ends()
                for fork in machine.forks:
                    await self.push(machine, fork.session_id)

    async def push(self, machine: Machine, session_id: str) -> None:
        """Append a fork, as the sync daemon does when it hears of it."""
        other = machine.conversation(session_id)
        if other.note.owes_data:
            await other.finish()

    async def logs(self) -> list[str]:
        """What the log of each conversation says."""
        found = []
        for name in {name for name, _ in self.memory.stored}:
            snapshot = Snapshot({})
            await snapshot.read(self._records(name), 0)
            file_snapshot = snapshot.transcript
            found.append(file_snapshot.read(0, file_snapshot.end_of_lines()).decode())
            snapshot.close()
        return found

    async def _records(self, name: str) -> AsyncIterator[Stored]:
        for other, stored in self.memory.stored:
            if other == name:
                yield stored

    def check(self, logs: list[str]) -> None:
        files = [it.read_text() for m in self.machines.values() for it in m.project.glob("*.jsonl")]
        for name, known in self.known.items():
            whole = known + turn(name)
            assert any(text.startswith(whole) for text in files), f"{name} is lost"
            assert any(text.startswith(whole) for text in logs), f"{name} is not in the fleet"
            for text in [*files, *logs]:
                assert turn(name) not in text or text.startswith(whole), f"{name} is mixed up"
        a, b = self.machines["a"], self.machines["b"]
        assert a.said == b.said


@settings(deadline=None)
@given(steps)
def test_no_turn_is_lost_and_none_is_mixed_with_another_hosts(
    walked: list[tuple[str, str]],
) -> None:
    async def story(walk: Walk) -> None:
        for name, act in walked:
            await walk.step(name, act)
            logs = await walk.logs()
            for said in walk.flushed:
                assert any(turn(said) in text for text in logs), f"{said} was answered, and is lost"
        await walk.end()
        walk.check(await walk.logs())

    with (
        tempfile.TemporaryDirectory() as root,
        mock.patch.object(log, "_RETURNS_WITHIN", 0.0),
        mock.patch.object(conversation, "_MOST_RECORDS", 12),
    ):
        walk = Walk(Path(root))
        try:
            asyncio.run(story(walk))
        finally:
            for machine in walk.machines.values():
                machine.close()
