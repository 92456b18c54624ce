"""A conversation on two hosts: what each file and the log hold after what happened to both."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING

import pytest

from shim.fleet import conversation, log, records
from shim.fleet.backend import Unavailable
from shim.fleet.log import Held
from shim.fleet.notes import ForkState, State
from tests.support.backend import MemoryBackend
from tests.support.machine import PID, Machine, U, line, turn

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path
    from typing import Any


@pytest.fixture(autouse=True)
def _no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "_RETURNS_WITHIN", 0.0)


@pytest.fixture
def backend() -> MemoryBackend:
    return MemoryBackend()


@pytest.fixture
def a(tmp_path: Path, backend: MemoryBackend) -> Iterator[Machine]:
    machine = Machine(tmp_path, backend, "a")
    yield machine
    machine.close()


@pytest.fixture
def b(tmp_path: Path, backend: MemoryBackend) -> Iterator[Machine]:
    machine = Machine(tmp_path, backend, "b")
    yield machine
    machine.close()


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(story)


def test_what_was_said_on_one_host_is_there_on_the_other(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        await b.turn(turn("2"))
        await a.turn(turn("3"))
        await b.begins()

    run(story())
    assert a.said == b.said == turn("1") + turn("2") + turn("3")


def test_a_daemon_without_a_memory_does_as_well(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        await b.turn(turn("2"))
        a.start_again()
        await a.turn(turn("3"))
        b.start_again()
        await b.begins()

    run(story())
    assert a.said == b.said == turn("1") + turn("2") + turn("3")


def test_a_daemon_that_is_started_in_mid_turn_goes_on(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.begins()
        a.says(turn("1"))
        a.start_again()
        a.it.claudes[PID] = ""
        await a.it.sync()
        await a.ends()
        await b.begins()

    run(story())
    assert b.said == turn("1")


def test_a_torn_line_goes_nowhere(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.turn(turn("1") + '{"type":"us')
        await b.turn(turn("2"))
        await a.begins()

    run(story())
    assert a.said == b.said == turn("1") + turn("2")


def test_what_was_said_without_the_fleet_comes_later(
    a: Machine, b: Machine, backend: MemoryBackend
) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        backend.why = "away"
        with pytest.raises(Unavailable):
            await a.begins()
        a.says(turn("2"))
        backend.why = ""
        await a.it.finish()
        await b.begins()

    run(story())
    assert b.said == turn("1") + turn("2")


@pytest.mark.parametrize("forgets", [False, True])
def test_what_both_hosts_said_apart_is_two_conversations(
    a: Machine, b: Machine, forgets: bool
) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        await b.turn(turn("2"))
        a.says(turn("apart"))
        if forgets:
            a.start_again()
        await a.begins()

    run(story())
    assert a.said == turn("1") + turn("2")
    assert a.other_conversations() == [turn("1") + turn("apart")]
    (fork,) = a.forks
    assert (fork.owes_data, fork.fork_state, fork.room) == (True, ForkState.NOTED, "r")


def test_what_claude_notes_of_itself_gives_way_to_turns(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        await b.turn(turn("2"))
        a.says('{"type":"last-prompt"}\n')
        await a.begins()

    run(story())
    assert a.said == turn("1") + turn("2")
    assert a.other_conversations() == []


def test_a_claude_that_lost_its_conversation_goes_on_in_a_fork(
    a: Machine, b: Machine, backend: MemoryBackend
) -> None:
    async def story() -> None:
        await a.begins()
        a.says(turn("1"))
        await a.it.sync()
        await backend.put_heartbeat("a", None)
        await b.begins()
        b.says(turn("2"))
        a.says(turn("on a"))
        await a.it.sync()
        assert a.it.state is State.FENCED
        assert a.said == turn("1") + turn("on a")
        await b.ends()
        await a.ends()
        await a.begins()

    run(story())
    assert a.said == b.said == turn("1") + turn("2")
    assert a.other_conversations() == [turn("1") + turn("on a")]


def test_a_fork_is_in_the_fleet_while_its_claude_lives(
    a: Machine, b: Machine, backend: MemoryBackend
) -> None:
    async def story() -> None:
        await a.begins()
        await backend.put_heartbeat("a", None)
        await b.turn(turn("2"))
        a.says(turn("on a"))
        await a.it.sync()

    run(story())
    fork = a.it.note.fork
    bodies = [it.record.body.decode() for name, it in backend.stored if name == fork]
    assert "".join(bodies) == turn("on a")


def test_a_busy_conversation_is_brought_as_far_as_it_goes(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.begins()
        a.says(turn("1") + line("2"))
        await a.it.sync()
        with pytest.raises(Held) as held:
            await b.begins()
        assert await b.it.peek(held.value.by.sequence)

    run(story())
    assert b.said == turn("1") + line("2")


def test_a_busy_conversation_is_brought_beside_what_was_said_apart(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        await b.turn(turn("2"))
        await a.begins()
        a.says(turn("3"))
        await a.it.sync()
        b.says(line("never answered"))
        with pytest.raises(Held) as held:
            await b.begins()
        await b.it.peek(held.value.by.sequence)

    run(story())
    assert b.said == turn("1") + turn("2") + turn("3")
    assert b.other_conversations() == [turn("1") + turn("2") + line("never answered")]


def test_an_answer_that_claude_takes_back_is_taken_back(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.begins()
        a.says(line("1") + line("begun", "assistant"))
        await a.it.sync()
        a.transcript.write_text(line("1") + line("whole", "assistant") + turn("2"))
        await a.it.sync()
        await a.ends()
        await b.begins()

    run(story())
    assert b.said == line("1") + line("whole", "assistant") + turn("2")


def test_a_transcript_that_was_lost_here_takes_nothing_from_the_log(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.begins()
        a.says(turn("1") + turn("2"))
        await a.it.sync()
        a.transcript.write_text(turn("3"))
        await a.it.sync()
        await a.ends()
        await b.begins()

    run(story())
    assert b.said == turn("1") + turn("2")
    assert a.other_conversations() == [turn("3")]


def test_files_beside_the_transcript_go_along(a: Machine, b: Machine) -> None:
    sidecars = a.project / U
    (sidecars / "tool-results").mkdir(parents=True)
    (sidecars / "subagents").mkdir()

    async def story() -> None:
        await a.begins()
        (sidecars / "tool-results" / "x.txt").write_text("long")
        (sidecars / "subagents" / "agent-1.jsonl").write_text(turn("sub") + "{torn")
        a.says(turn("1"))
        await a.it.sync()
        (sidecars / "subagents" / "agent-1.jsonl").write_text(turn("sub") + turn("more"))
        await a.ends()
        await b.begins()

    run(story())
    there = b.project / U
    assert (there / "tool-results" / "x.txt").read_text() == "long"
    assert (there / "subagents" / "agent-1.jsonl").read_text() == turn("sub") + turn("more")


def test_a_file_is_stored_before_the_line_that_names_it(a: Machine, backend: MemoryBackend) -> None:
    async def story() -> None:
        await a.begins()
        (a.project / U / "tool-results").mkdir(parents=True)
        (a.project / U / "tool-results" / "x.txt").write_text("long")
        a.says(turn("1"))
        await a.it.sync()

    run(story())
    files = [it.record.file for _, it in backend.stored if it.record.kind == "data"]
    assert files == ["tool-results/x.txt", ""]


def test_a_long_log_is_written_anew(
    a: Machine, b: Machine, backend: MemoryBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "_MOST_RECORDS", 5)

    async def story() -> None:
        for name in "1234":
            await a.turn(turn(name))
        await b.turn(turn("5"))
        await a.begins()

    run(story())
    whole = "".join(map(turn, "12345"))
    assert a.said == b.said == whole
    assert len(backend.stored) < 8


def test_nothing_is_appended_behind_a_release_whose_answer_was_lost(
    a: Machine, backend: MemoryBackend
) -> None:
    async def story() -> None:
        await a.begins()
        a.says(turn("1"))
        await a.it.sync()
        a.it.claudes.clear()
        backend.loses_the_next_answer = True
        with pytest.raises(Unavailable):
            await a.it.finish()
        assert (a.it.state, a.it.note.owes) == (State.FREE, True)
        await a.turn(turn("2"))

    run(story())
    kinds = [it.record.kind for name, it in backend.stored if name == U]
    assert kinds == ["claim", "data", "release", "claim", "data", "release"]
    assert not a.it.note.is_due


def test_a_daemon_that_was_killed_leaves_a_note_of_the_lease_it_held(
    a: Machine, b: Machine
) -> None:
    async def story() -> None:
        await a.begins()
        await asyncio.sleep(0)
        a.says(turn("1"))
        a.start_again(remembers=True)
        assert a.it.note.owes_data
        await a.it.finish()
        await b.begins()

    run(story())
    assert b.said == turn("1")


class Killed(BaseException):
    """The sync daemon, in the middle of something."""


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("how", [Killed, Unavailable])
@pytest.mark.parametrize("steps", range(6))
def test_a_log_that_is_being_written_anew_is_whole_at_every_moment(
    a: Machine,
    b: Machine,
    backend: MemoryBackend,
    monkeypatch: pytest.MonkeyPatch,
    steps: int,
    how: type[BaseException],
    remembers: bool,
) -> None:
    monkeypatch.setattr(records, "pieces", lambda body: in_pieces(body, 100))
    left = [steps]

    def counted(act: Callable[..., Any]) -> Callable[..., Any]:
        async def counting(*arguments: Any, **named: Any) -> Any:
            if not left[0]:
                raise how
            left[0] -= 1
            return await act(*arguments, **named)

        return counting

    async def story() -> None:
        for name in "12":
            await a.turn(turn(name))
        await a.begins()
        a.says(turn("3"))
        await a.it.sync()
        with monkeypatch.context() as patched:
            patched.setattr(conversation, "_MOST_RECORDS", 1)
            patched.setattr(backend, "append", counted(backend.append))
            patched.setattr(backend, "purge", counted(backend.purge))
            with contextlib.suppress(Killed, Unavailable):
                await a.ends()
        if how is Killed:
            a.start_again(remembers)
            backend.alive.pop("a", None)
        else:
            await a.ends()
        await b.turn(turn("4"))
        backend.alive["a"] = {}
        await a.begins()

    run(story())
    assert a.said == b.said == "".join(map(turn, "1234"))
    assert a.other_conversations() == b.other_conversations() == []


def in_pieces(body: bytes, size: int) -> Iterator[bytes]:
    return (body[at : at + size] for at in range(0, len(body), size))


def test_a_log_is_not_written_anew_without_what_is_gone_here(
    a: Machine, b: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        await a.begins()
        (a.project / U / "tool-results").mkdir(parents=True)
        (a.project / U / "tool-results" / "x.txt").write_text("long")
        a.says(turn("1"))
        await a.it.sync()
        (a.project / U / "tool-results" / "x.txt").unlink()
        monkeypatch.setattr(conversation, "_MOST_RECORDS", 1)
        await a.ends()
        await b.begins()

    run(story())
    assert (b.project / U / "tool-results" / "x.txt").read_text() == "long"


def test_one_hosts_own_records_count(a: Machine, backend: MemoryBackend) -> None:
    async def story() -> None:
        for name in "123456":
            await a.turn(turn(name))
            a.start_again(remembers=True)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(conversation, "_MOST_RECORDS", 10)
        run(story())
    assert len(backend.stored) < 14


def test_a_conversation_that_was_purged_is_begun_anew_by_who_had_some_of_it(
    a: Machine, b: Machine, backend: MemoryBackend
) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        await b.turn(turn("2"))
        await backend.purge(U)
        await b.turn(turn("3"))
        await a.begins()

    run(story())
    assert a.said == b.said == "".join(map(turn, "123"))


def test_a_kept_name_of_the_transcript_stays_its_name(a: Machine, b: Machine) -> None:
    async def story() -> None:
        await a.turn(turn("1"))
        (a.store / "kept").mkdir()
        os.link(a.transcript, a.store / "kept" / f"{U}.jsonl")
        await b.turn(turn("2"))
        await a.begins()

    run(story())
    assert (a.store / "kept" / f"{U}.jsonl").read_text() == turn("1") + turn("2")
