"""A walk at random: two rooms and a claude without one, used in every way at once and in turn.

A model says what each room is to know; after each step the conversation that the room would go on
with is compared with it. What is said is a word of its own each time: the room's letter and a
number, so that a word in the wrong room shows.
"""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from shim.store import markers
from tests.support.messages_api import Reply
from tests.support.real_claude import ESCAPE, LEFT, TIMEOUT, VERSIONS, knows, shows_list, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import Screen, Stream, World

_WORDS = re.compile(r'"content":(?:"|\[\{"type":"text","text":")([ab]\d{4})"')
_ALONE = "c"  # stands for the claude without a room
_MOST_WORKERS = 2


@dataclass
class Claude:
    """A claude that goes on, and the words of the conversation that it is on."""

    room: str
    words: list[str]
    screen: Screen | None = None
    stream: Stream | None = None
    is_left: bool = False
    """Whether its terminal shows the list of agents."""
    is_cleared: bool = False
    """Whether a stream is on a new conversation without a turn, of which nobody hears."""


@dataclass
class Walk:
    """The world, the model of it, and the steps so far."""

    world: World
    api: MessagesApi
    choices: random.Random
    heads: dict[str, list[str]] = field(default_factory=lambda: {"a": [], "b": []})
    live: dict[str, Claude] = field(default_factory=dict)
    earlier: dict[str, dict[str, list[str]]] = field(default_factory=lambda: {"a": {}, "b": {}})
    steps: list[str] = field(default_factory=list)
    said: int = 0

    def step(self) -> None:
        """Do something that can be done now, and compare."""
        name = self.choices.choice(["a", "a", "b", "b", _ALONE])
        claude = self.live.get(name)
        ways = self._ways(name) if claude is None else self._ways_of(claude)
        way = self.choices.choice(ways)
        self.steps.append(f"{name}: {way.__name__}")
        way(name)
        self._end_surplus()
        self.compare()

    def compare(self) -> None:
        """Each room would resume the conversation that the model names."""
        for room, words in self.heads.items():
            self._wait_for(room, words)
            head = self.world.mapping(room)
            if head:
                self.earlier[room][head] = list(words)

    def _wait_for(self, room: str, words: list[str]) -> None:
        try:
            wait_until(lambda: self.found(room) == words, "as the model has it")
        except TimeoutError:
            assert self.found(room) == words, self.steps

    def found(self, room: str) -> list[str]:
        """The words of the conversation that a room would resume."""
        head = self.world.mapping(room)
        while head and not self.world.transcripts(head):
            head = markers.left_for(str(self.world.store), head)
        return self.words_of(head) if head else []

    def words_of(self, session_id: str) -> list[str]:
        """The words of the user in a conversation."""
        lines = [
            line
            for path in self.world.transcripts(session_id)
            for line in path.read_text().splitlines()
            if '"type":"user"' in line and '"isMeta":true' not in line
        ]
        return [found[1] for line in lines if (found := _WORDS.search(line))]

    def word(self, room: str) -> str:
        """A word that was not said yet."""
        self.said += 1
        return f"{room}{self.said:04}"

    # What can be done where no claude goes on

    def _ways(self, name: str) -> list[Callable[[str], None]]:
        if name == _ALONE:
            return [self.open_terminal]
        return [self.call, self.call, self.call_at_once, self.query, self.open_terminal,
                self.open_stream]  # fmt: skip

    def call(self, room: str) -> None:
        word = self.word(room)
        done = self.world.run("-p", word, room=room)
        assert done.returncode == 0, (done, self.steps)
        assert knows(done.stdout) == self.heads[room], (done, self.steps)
        self.heads[room] = [*self.heads[room], word]

    def call_at_once(self, room: str) -> None:
        words, before = [self.word(room) for _ in range(2)], self.heads[room]
        calls = [self.world.start("-p", word, room=room) for word in words]
        outputs = [call.communicate(timeout=TIMEOUT) for call in calls]
        known = [knows(stdout) for stdout, _ in outputs]
        if all("runs in a fork of its conversation" in stderr for _, stderr in outputs):
            assert known == [before, before], (outputs, self.steps)
            ends = [[*before, word] for word in words]
            wait_until(lambda: self.found(room) in ends, "one of two copies is the head")
            self.heads[room] = self.found(room)
            return
        lines = [*zip(known, words, strict=True)]
        (first, one), (second, other) = sorted(lines, key=lambda line: len(line[0]))
        assert (first, second) == (before, [*before, one]), (outputs, self.steps)
        self.heads[room] = [*before, one, other]

    def query(self, room: str) -> None:
        """A stream of one turn, as of the SDKs."""
        word = self.word(room)
        stream = self.world.stream(room=room)
        assert knows(stream.ask(word)) == self.heads[room], self.steps
        assert stream.close() == 0
        self.heads[room] = [*self.heads[room], word]

    def open_terminal(self, name: str) -> None:
        room = "" if name == _ALONE else name
        words = self.heads.get(name, [])
        self.live[name] = Claude(name, words, screen=self.world.screen(room=room))

    def open_stream(self, room: str) -> None:
        stream = self.world.stream(room=room)
        self.live[room] = Claude(room, self.heads[room], stream=stream)
        self.turn(room)

    # What can be done with one that goes on

    def _ways_of(self, claude: Claude) -> list[Callable[[str], None]]:
        if claude.stream is not None:
            return [self.turn, self.turn, self.clear, self.close, self.kill]
        if claude.is_left:
            return [self.come_back, self.come_back, self.quit, self.kill]
        if not claude.words:
            return [self.turn]
        moves = [] if claude.room == _ALONE else [self.clear, self.resume, self.branch]
        return [*moves, self.turn, self.turn, self.leave, self.leave_in_mid_turn,
                self.quit, self.kill]  # fmt: skip

    def turn(self, name: str) -> None:
        claude, word = self.live[name], self.word(name)
        if claude.stream is not None:
            assert knows(claude.stream.ask(word)) == claude.words, self.steps
        if claude.screen is not None:
            claude.screen.ask(word)
        self._has_said(claude, word)

    def clear(self, name: str) -> None:
        claude = self.live[name]
        before = self.world.mapping(name)
        claude.words = []
        if claude.stream is not None:
            claude.stream.send("/clear")
            claude.stream.next_result()
            claude.is_cleared = True
        if claude.screen is not None:
            claude.screen.say("/clear")
            claude.screen.wait_until(lambda: self.world.mapping(name) != before, "a new head")
            self.heads[name] = []

    def resume(self, name: str) -> None:
        claude = self.live[name]
        taken = {entry["sessionId"] for entry in self.world.registered()}
        earlier = {
            session_id: words
            for session_id, words in self.earlier[name].items()
            if session_id not in taken and self.words_of(session_id) == words and words
        }
        if not earlier or claude.screen is None:
            return
        chosen = self.choices.choice(sorted(earlier))
        claude.screen.say(f"/resume {chosen}")
        claude.screen.wait_until(lambda: self.world.mapping(name) == chosen, "the chosen one")
        claude.words = self.heads[name] = earlier[chosen]

    def branch(self, name: str) -> None:
        claude = self.live[name]
        before = self.world.mapping(name)
        assert claude.screen is not None
        claude.screen.say("/branch")
        claude.screen.wait_until(lambda: self.world.mapping(name) != before, "the branch")
        self.heads[name] = claude.words

    def leave(self, name: str) -> None:
        self._show_list(self.live[name])

    def leave_in_mid_turn(self, name: str) -> None:
        claude, word, over = self.live[name], self.word(name), threading.Event()
        assert claude.screen is not None
        self.api.on(word, Reply(hold=over))
        claude.screen.say(word)
        self.api.wait_for(lambda api: any(turn.prompt == word for turn in api.turns()))
        self._show_list(claude)
        over.set()
        wait_until(lambda: self._is_on_disk(f"heard: {word}"), f"an answer to {word}")
        self._has_said(claude, word)

    def come_back(self, name: str) -> None:
        claude = self.live[name]
        assert claude.screen is not None
        screen = claude.screen
        screen.press_until(ESCAPE, lambda: not shows_list(screen), "the session")
        claude.is_left = False
        self.turn(name)

    def quit(self, name: str) -> None:
        screen = self.live.pop(name).screen
        assert screen is not None
        screen.quit()

    def close(self, name: str) -> None:
        claude = self.live.pop(name)
        assert claude.stream is not None
        assert claude.stream.close() == 0
        if claude.is_cleared:
            self.heads[name] = []

    def kill(self, name: str) -> None:
        claude = self.live.pop(name)
        if claude.stream is not None:
            claude.stream.kill()
        if claude.screen is not None:
            claude.screen.kill()

    def _has_said(self, claude: Claude, word: str) -> None:
        claude.words, claude.is_cleared = [*claude.words, word], False
        if claude.room in self.heads:
            self.heads[claude.room] = claude.words

    def _show_list(self, claude: Claude) -> None:
        screen = claude.screen
        assert screen is not None
        screen.press_until(LEFT, lambda: shows_list(screen), "the list of agents")
        screen.wait_until(lambda: self._worker_of(screen.pid), "its worker")
        claude.is_left = True

    def _is_on_disk(self, text: str) -> bool:
        paths = (self.world.home / ".claude" / "projects").glob("*/*.jsonl")
        return any(text in path.read_text() for path in paths)

    def _worker_of(self, pid: int) -> str | None:
        """The job of the worker that resumes the conversation of a terminal's claude."""
        entries = self.world.registered()
        own = next((e.get("parkedJobId") for e in entries if e["pid"] == pid), None)
        is_there = own and any(e.get("jobId") == own and "status" in e for e in entries)
        return own if is_there else None

    def _end_surplus(self) -> None:
        """End workers that nobody looks at, but for some: each takes a lot of memory."""
        shown = {self._worker_of(c.screen.pid) for c in self.live.values() if c.screen}
        idle = [
            job["daemonShort"]
            for job in self.world.jobs()
            if job.get("state") == "working" and job.get("daemonShort") not in shown
        ]
        for job in idle[_MOST_WORKERS:]:
            self.steps.append(f"stop {job}")
            self.world.run("stop", job)


@pytest.mark.parametrize("any_claude", VERSIONS[-1:], indirect=True)
def test_each_room_knows_its_own_after_every_step(
    any_claude: World, api: MessagesApi, long: bool
) -> None:
    seed = random.randrange(1 << 32) if long else 1
    walk = Walk(any_claude, api, random.Random(seed))
    walk.steps.append(f"seed {seed}")
    for _ in range(300 if long else 10):
        walk.step()
