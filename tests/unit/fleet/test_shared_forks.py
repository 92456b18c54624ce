"""Turns that were said apart come back into their room, on every host: without processes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import posix
import subprocess
import time
from typing import TYPE_CHECKING, Any, cast

import pytest

from shim.base.session_key import new_session_id
from shim.fleet import conversation, log, notes, protocol, rooms
from shim.fleet.daemon_requests import Requests
from shim.fleet.host import Host
from shim.fleet.notes import ForkState
from shim.fleet.roster import Roster
from shim.forks import catching_up, fork_marker, writing
from tests.support.backend import Memory, MemoryBackend
from tests.support.transcripts import Writer, history

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from shim.fleet.jetstream import JetStream

U = "11111111-1111-4111-8111-111111111111"
# Linux has no process of this id: the claude of a call has ended when it is asked about.
ENDED = (1 << 22) + 1
ROOM = {"version": protocol.VERSION, "room": "r", "agent": "claude"}


class OwnBackend(MemoryBackend):
    """A host's backend, as its daemon needs it."""

    async def heed_keys(self) -> None:
        """No keys are used."""


class FleetHost:
    """A host with a daemon, and claudes that write transcripts."""

    def __init__(self, root: Path, memory: Memory, name: str) -> None:
        self.name = name
        self.store = str(root / name / "store")
        self._config = root / name / "config"
        os.makedirs(self.store)
        self.backend = OwnBackend(memory)
        memory.alive[name] = {}
        self.start_daemon()

    def start_daemon(self) -> None:
        """Start a daemon, which knows what is noted; one that was there has been killed."""
        self.stop_daemon()
        self.roster = Roster(self.store, Host(self.name, f"host-{self.name}", "1"))
        self.roster.backend = cast("JetStream", self.backend)
        self.roster.adopt()
        self._requests = Requests(self.roster, lambda: None)

    def stop_daemon(self) -> None:
        """Have the daemon leave nothing open, as its end does."""
        if hasattr(self, "roster"):
            self.roster._local_locks.close()

    def transcript(self, session_id: str = U) -> Path:
        return self._config / "projects" / "p" / f"{session_id}.jsonl"

    async def begin(self, pid: int = ENDED, kind: str = "one-shot") -> dict[str, Any]:
        """Ask for the room's conversation; where it is granted, append what it lacks."""
        self._be_here()
        question = {
            **ROOM,
            "request": "begin",
            "pid": pid,
            "kind": kind,
            "session_id": U,
            "transcript": str(self.transcript()),
            "is_chosen": False,
            "moves_head": not self.transcript().exists(),
            "waits": 0,
        }
        answer = await self._requests.answer(protocol.encode(question))
        if answer["answer"] == "granted":
            catching_up.catch_up(self.store, U)
        return answer

    async def turn(self, prompt: str) -> None:
        """Have a turn in the room, in the fleet or without it."""
        await self.begin()
        Writer(self.transcript()).say(prompt)
        await self.settle()

    async def settle(self) -> None:
        """Have the daemon do what there is to do."""
        self._be_here()
        while due := [
            each
            for each in self.roster
            if not each.claudes and (each.log.is_held or each.note.is_unfinished)
        ]:
            if self.backend.why:
                return
            for each in due:
                each.reset_back_off()
                await self.roster.maintain(each)

    async def fork_turn(self, prompt: str, pid: int = ENDED) -> str:
        """Have a turn in a new fork, as a call does that finds the room in use."""
        self._be_here()
        path = writing.write(self.store, str(self.transcript()), new_session_id(), "a program")
        assert path is not None
        fork = Writer(self.transcript(os.path.basename(path).removesuffix(".jsonl")))
        fork.say(prompt)
        event = {"session_id": fork.session_id, "transcript_path": path}
        question = {**ROOM, "request": "flush", "pid": pid}
        line = protocol.encode({**question, "event": json.dumps(event).encode()})
        assert (await self._requests.answer(line))["answer"] == "done"
        await self.settle()
        return fork.session_id

    def lacks(self) -> list[str]:
        """The prompts of the turns that the room's conversation lacks."""
        self._be_here()
        return [turn.prompt for turn in catching_up.lacking(self.store, U)]

    @property
    def said(self) -> list[str]:
        """The prompts that claude would send of the room's conversation."""
        return history(self.transcript())

    def _be_here(self) -> None:
        posix.environ[b"CLAUDE_CONFIG_DIR"] = os.fsencode(self._config)


@pytest.fixture(autouse=True)
def _of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", b"")
    monkeypatch.setattr(log, "_RETURNS_WITHIN", 0.0)


@pytest.fixture
def live_claude() -> Iterator[int]:
    """The pid of a claude that lives as long as the test."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process.pid


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def a(tmp_path: Path, memory: Memory) -> Iterator[FleetHost]:
    host = FleetHost(tmp_path, memory, "a")
    yield host
    host.stop_daemon()


@pytest.fixture
def b(tmp_path: Path, memory: Memory) -> Iterator[FleetHost]:
    host = FleetHost(tmp_path, memory, "b")
    yield host
    host.stop_daemon()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def entry(memory: Memory) -> dict[str, Any]:
    return memory.values[rooms.key("r", "claude")]


def open_forks(memory: Memory) -> list[str]:
    return [fork.session_id for fork in rooms.forks(entry(memory)) if fork.is_open]


async def both_speak_apart(a: FleetHost, b: FleetHost) -> None:
    """Both hosts have the first turns, and then one more each while the servers are away."""
    await a.turn("1")
    await b.turn("2")
    a.backend.why = b.backend.why = "away"
    await a.turn("alone on a")
    await b.turn("alone on b")
    a.backend.why = b.backend.why = ""


@pytest.mark.parametrize("is_a_first", [True, False])
def test_what_both_hosts_said_while_cut_off_is_in_the_room_on_both(
    a: FleetHost, b: FleetHost, memory: Memory, is_a_first: bool
) -> None:
    async def story() -> None:
        await both_speak_apart(a, b)
        for each in (a, b) if is_a_first else (b, a):
            await each.settle()
        await b.turn("3")
        await a.turn("4")
        await b.turn("5")

    run(story())
    assert sorted(b.said) == ["1", "2", "3", "4", "5", "alone on a", "alone on b"]
    assert a.said == b.said[: b.said.index("5")]
    assert open_forks(memory) == []


def test_where_only_one_host_spoke_while_cut_off_it_comes_back_as_well(
    a: FleetHost, b: FleetHost, memory: Memory
) -> None:
    async def story() -> None:
        await a.turn("1")
        await b.turn("2")
        a.backend.why = "away"
        await a.turn("alone")
        a.backend.why = ""
        await a.settle()
        await b.turn("3")

    run(story())
    assert b.said == ["1", "2", "alone", "3"]
    assert open_forks(memory) == []


def test_a_room_that_both_hosts_began_while_cut_off_has_the_turns_of_both(
    a: FleetHost, b: FleetHost
) -> None:
    async def story() -> None:
        a.backend.why = b.backend.why = "away"
        await a.turn("first on a")
        await b.turn("first on b")
        a.backend.why = b.backend.why = ""
        await a.settle()
        await b.settle()
        await a.turn("2")
        await b.turn("3")

    run(story())
    assert sorted(b.said) == ["2", "3", "first on a", "first on b"]


def test_a_turn_in_a_fork_is_in_the_room_on_every_host(
    a: FleetHost, b: FleetHost, memory: Memory
) -> None:
    async def story() -> None:
        await a.turn("1")
        await b.turn("2")
        await b.fork_turn("in a fork of b")
        await a.turn("3")

    run(story())
    assert a.said == ["1", "2", "in a fork of b", "3"]
    assert open_forks(memory) == []


def test_a_fork_that_gets_another_turn_is_open_again(
    a: FleetHost, b: FleetHost, memory: Memory
) -> None:
    async def story() -> None:
        await a.turn("1")
        await b.turn("2")
        fork = await b.fork_turn("one")
        await a.turn("3")
        Writer(b.transcript(fork)).say("two")
        its = b.roster.find(fork, "r", "claude")
        its.note.owes_data = True
        await b.settle()
        assert open_forks(memory) == [fork]
        await a.turn("4")

    run(story())
    assert a.said == ["1", "2", "one", "3", "two", "4"]
    assert open_forks(memory) == []


def test_a_fork_stays_open_until_the_head_has_it(
    a: FleetHost, b: FleetHost, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        await both_speak_apart(a, b)
        await b.settle()
        await a.settle()
        with monkeypatch.context() as patched:
            patched.setattr(catching_up, "catch_up", lambda *_: [])
            await b.turn("3")
        (fork,) = open_forks(memory)
        assert b.said == ["1", "2", "alone on b", "3"]
        await b.turn("4")
        assert (fork in open_forks(memory), "alone on a" in b.said) == (False, True)

    run(story())


def test_what_a_call_finds_in_use_has_the_forks_of_other_hosts_beside_it(
    a: FleetHost, b: FleetHost
) -> None:
    async def story() -> None:
        await a.turn("1")
        await b.turn("2")
        fork = await a.fork_turn("in a fork of a")
        await a.begin()
        assert (await b.begin())["answer"] == "busy"
        assert history(b.transcript(fork)) == ["1", "in a fork of a"]
        marker = fork_marker.of_fork(b.store, fork)
        assert marker is not None
        assert (marker.of, marker.by) == (U, "a claude on host-a")
        await a.settle()

    run(story())


def test_a_fork_that_an_older_version_dropped_is_listed_again(
    a: FleetHost, b: FleetHost, memory: Memory
) -> None:
    async def story() -> None:
        await both_speak_apart(a, b)
        await b.settle()
        await a.settle()
        (fork,) = open_forks(memory)
        del entry(memory)["forks"]
        a.start_daemon()
        await a.roster.verify_forks()
        assert open_forks(memory) == [fork]
        await b.turn("3")
        await a.roster.verify_forks()
        note = notes.read(a.roster.directory, fork)
        assert (note.fork_state, note.is_due) == (ForkState.OVER, False)

    run(story())


def test_a_fork_that_cannot_be_read_keeps_no_call_from_its_conversation(
    a: FleetHost, b: FleetHost, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        await both_speak_apart(a, b)
        await b.settle()
        await a.settle()
        fails_for(monkeypatch, open_forks(memory)[0])
        await b.turn("3")

    run(story())
    assert b.said == ["1", "2", "alone on b", "3"]
    assert len(open_forks(memory)) == 1


def fails_for(monkeypatch: pytest.MonkeyPatch, fork: str) -> None:
    """Have the log of a fork unreadable."""
    fetch = conversation.FleetConversation.fetch

    async def failing(its: conversation.FleetConversation) -> int:
        if its.session_id == fork:
            raise OSError(5, "broken")
        return await fetch(its)

    monkeypatch.setattr(conversation.FleetConversation, "fetch", failing)


def test_what_others_say_beside_a_live_claude_is_fetched_for_it(
    a: FleetHost, b: FleetHost, live_claude: int
) -> None:
    async def story() -> None:
        await a.turn("1")
        await b.turn("2")
        assert (await a.begin(live_claude, "interactive"))["answer"] == "granted"
        assert (await b.begin())["answer"] == "busy"
        fork = await b.fork_turn("beside")
        await until(lambda: a.transcript(fork).exists())
        assert a.lacks() == ["beside"]

    run(story())


def test_what_the_head_gets_is_fetched_for_a_live_claude_on_a_fork_of_another_host(
    a: FleetHost, b: FleetHost, live_claude: int
) -> None:
    async def story() -> None:
        await a.turn("1")
        await b.turn("2")
        await b.fork_turn("beside", live_claude)
        await a.turn("3")
        await until(lambda: "3" in b.said)

    run(story())


async def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 240
    while not is_so():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


class Killed(BaseException):
    """The sync daemon, in the middle of something."""


@pytest.mark.parametrize("at", range(12))
def test_a_daemon_that_is_killed_at_any_step_loses_nothing(
    a: FleetHost, b: FleetHost, memory: Memory, at: int
) -> None:
    async def story() -> None:
        await both_speak_apart(a, b)
        await b.settle()
        dies_at(a.backend, at)
        with contextlib.suppress(Killed):
            await a.settle()
        live_again(a.backend)
        a.start_daemon()
        await a.settle()
        await b.turn("3")
        await a.turn("4")
        await b.turn("5")

    run(story())
    assert sorted(b.said) == ["1", "2", "3", "4", "5", "alone on a", "alone on b"]
    assert open_forks(memory) == []


def dies_at(backend: MemoryBackend, at: int) -> None:
    """Have the daemon die at its n-th question to the servers, which still get it."""
    asked = 0
    for name in ("append", "last", "room", "put_room"):
        original: Callable[..., Coroutine[Any, Any, Any]] = getattr(backend, name)

        async def asking(
            *args: Any, original: Callable[..., Coroutine[Any, Any, Any]] = original
        ) -> Any:
            nonlocal asked
            asked += 1
            answer = await original(*args)
            if asked > at:
                raise Killed
            return answer

        setattr(backend, name, asking)


def live_again(backend: MemoryBackend) -> None:
    for name in ("append", "last", "room", "put_room"):
        delattr(backend, name)
