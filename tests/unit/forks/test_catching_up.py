"""Each conversation of a room catches up with what the others had."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.support.transcripts import history

if TYPE_CHECKING:
    from tests.unit.forks.conftest import Room


def test_a_fork_knows_the_heads_finished_turns_and_no_more(room: Room) -> None:
    room.head.say("one")
    room.head.ask("two")
    fork = room.fork()
    assert history(fork.path) == ["one"]
    room.head.answer("heard: two")
    assert room.catch_up(fork) == ["two"]
    assert history(fork.path) == ["one", "two"]


def test_what_was_said_in_a_fork_comes_back_once_and_in_order(room: Room) -> None:
    room.head.say("one")
    fork = room.fork()
    fork.say("two")
    room.head.say("three")
    fork.say("four")
    assert room.lacks(room.head) == ["two", "four"]
    assert room.catch_up(room.head) == ["two", "four"]
    assert history(room.head.path) == ["one", "three", "two", "four"]
    assert room.catch_up(room.head) == []
    assert room.catch_up(fork) == ["three"]
    assert room.catch_up(fork) == room.catch_up(room.head) == []
    assert history(fork.path) == ["one", "two", "four", "three"]


def test_forks_know_each_others_turns(room: Room) -> None:
    room.head.say("one")
    a, b = room.fork(), room.fork()
    a.say("a1")
    assert room.catch_up(b) == ["a1"]
    b.say("b1")
    assert room.catch_up(a) == ["b1"]
    a.say("a2")
    assert room.catch_up(room.head) == ["a1", "b1", "a2"]
    assert room.catch_up(a) == []
    assert room.catch_up(b) == ["a2"]
    assert room.catch_up(b) == room.catch_up(a) == room.catch_up(room.head) == []


def test_an_unfinished_turn_waits_for_its_answer(room: Room) -> None:
    room.head.say("one")
    fork = room.fork()
    fork.ask("two")
    assert room.catch_up(room.head) == []
    fork.answer("heard: two")
    assert room.catch_up(room.head) == ["two"]


def test_fifty_turns_of_a_fork_come_back(room: Room) -> None:
    room.head.say("zero")
    fork = room.fork()
    said = [f"turn {number}" for number in range(50)]
    for prompt in said:
        fork.say(prompt)
        fork.note()
    assert room.catch_up(room.head) == said
    assert history(room.head.path) == ["zero", *said]
