"""Random lives of a room: each conversation knows each turn once, and in order."""

from __future__ import annotations

import os
import posix
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    multiple,
    rule,
    run_state_machine_as_test,
)

from shim.claude.notice import TAG, heading
from shim.forks import belonging, catching_up, fork_marker
from tests.support.transcripts import history
from tests.unit.forks.conftest import Room

if TYPE_CHECKING:
    from tests.support.transcripts import Writer


@dataclass
class Step:
    """A turn in a chain, or a notice, and the line before it."""

    behind: str | None
    turn: str = ""
    told: frozenset[str] = frozenset()


@dataclass
class Known:
    """What the model says of one conversation."""

    writer: Writer
    chain: list[Step] = field(default_factory=list)
    # Every turn that has been in its file, rewound or not.
    had: set[str] = field(default_factory=set)
    asked: Step | None = None

    def turns(self) -> list[str]:
        return [step.turn for step in self.chain if step.turn]

    def told(self) -> set[str]:
        return {turn for step in self.chain for turn in step.told}

    def add(self, *turns: str) -> None:
        self.chain += (Step("unknown", turn) for turn in turns)
        self.had.update(turns)


class Life(RuleBasedStateMachine):
    """One room with a head and forks, of which each writes as claude does, and is caught up."""

    conversations = Bundle("conversations")

    @initialize(target=conversations)
    def begin(self) -> Known:
        self._directory = tempfile.TemporaryDirectory()
        self._patch = pytest.MonkeyPatch()
        root = Path(self._directory.name)
        self._patch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(root / "config"))
        self.room = Room(root)
        self.count = 0
        self.head = Known(self.room.head)
        self.members = [self.head]
        self.say(self.head)
        return self.head

    def teardown(self) -> None:
        if hasattr(self, "_patch"):
            self._patch.undo()
            self._directory.cleanup()

    def _next(self, one: Known) -> Step:
        self.count += 1
        return Step(one.writer.leaf(), f"turn {self.count}")

    @rule(one=conversations)
    def say(self, one: Known) -> None:
        one.asked = None
        step = self._next(one)
        one.writer.say(step.turn)
        one.chain.append(step)
        one.had.add(step.turn)

    @rule(one=conversations)
    def ask(self, one: Known) -> None:
        one.asked = self._next(one)
        one.writer.ask(one.asked.turn)

    @rule(one=conversations)
    def answer(self, one: Known) -> None:
        if one.asked:
            one.writer.answer("late")
            one.chain.append(one.asked)
            one.had.add(one.asked.turn)
            one.asked = None

    @rule(one=conversations)
    def fail(self, one: Known) -> None:
        one.asked = None
        asked = one.writer.ask(self._next(one).turn)
        error = one.writer.assistant(asked, "stop_sequence", isApiErrorMessage=True)
        one.writer.write(error)

    @rule(one=conversations)
    def note(self, one: Known) -> None:
        one.writer.note()

    @rule(one=conversations, cut=st.integers(1, 40))
    def tear(self, one: Known, cut: int) -> None:
        """Leave a torn line, as a kill does."""
        with one.writer.path.open("ab") as file:
            file.write(b'{"parentUuid":"x","type":"user","message":{"role"'[:cut] + b"\n")

    @rule(one=conversations)
    def tell(self, one: Known) -> None:
        """Tell a live claude of what it lacks, as our hook does."""
        turns = catching_up.lacking(self.room.store, one.writer.session_id)
        assert {turn.prompt for turn in turns} == self._lacked_by(one)
        if turns and not one.asked:
            content = "\n".join((f"<{TAG}>", *(heading(turn.id, "") for turn in turns)))
            attached = {"type": "hook_additional_context", "content": [content]}
            behind = one.writer.leaf()
            one.writer.write(one.writer.row("attachment", behind, attachment=attached))
            one.chain.append(Step(behind, told=frozenset(turn.prompt for turn in turns)))

    @rule(one=conversations, back=st.integers(1, 3))
    def rewind(self, one: Known, back: int) -> None:
        """Go back to before one of the last turns, and say something else there."""
        if back < len(one.chain) and all(s.behind != "unknown" for s in one.chain[-back:]):
            one.writer.rewind(one.chain[-back].behind)
            del one.chain[-back:]
            self.say(one)

    @rule(target=conversations)
    def fork(self) -> object:
        if len(self.members) > 3:
            return multiple()
        fork = Known(self.room.fork(), list(self.head.chain), set(self.head.had))
        self.members.append(fork)
        self.catch_up(fork)
        return fork

    @rule(one=conversations)
    def catch_up(self, one: Known) -> None:
        """A call has the conversation for itself: what was under way there was killed."""
        one.asked = None
        assert set(self.room.lacks(one.writer)) == self._lacked_by(one)
        appended = self.room.catch_up(one.writer)
        assert set(appended) == self._lacked_by(one)
        one.add(*appended)
        assert self.room.lacks(one.writer) == []
        known = history(one.writer.path)
        assert [turn for turn in known if turn in one.turns()] == one.turns()
        for other in self.members:
            theirs = [s.turn for s in other.chain if s.behind != "unknown" and s.turn in appended]
            assert [turn for turn in appended if turn in theirs] == theirs

    @rule(one=conversations)
    def end(self, one: Known) -> None:
        """A fork whose turns the head has all ends, and is resumed by its id."""
        if one is not self.head:
            self.catch_up(self.head)
            fork_marker.end(self.room.store, one.writer.session_id)
            belonging.note_anew(self.room.store, one.writer.session_id)

    def _lacked_by(self, one: Known) -> set[str]:
        others = {turn for other in self.members for turn in other.turns()}
        return others - one.had - one.told()


def test_in_a_random_life_each_conversation_knows_each_turn_once(long: bool) -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=500 if long else 20,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
