"""The fleet's entry of a room: what hosts that change it at once make of it."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING, Any

from shim.fleet import rooms
from shim.fleet.host import Host
from shim.fleet.notes import Note
from tests.support.backend import Memory, MemoryBackend

if TYPE_CHECKING:
    from shim.fleet.backend import RoomEntry

A, B = Host("a", "host a", "1"), Host("b", "host b", "1")
U, V = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


class SlowBackend(MemoryBackend):
    """A host whose answers take a moment, in which another host changes something."""

    async def room(self, name: str) -> RoomEntry:
        entry = await super().room(name)
        await asyncio.sleep(0)
        return entry


def note(session_id: str, fork_of: str = "") -> Note:
    return Note(session_id, "r", "claude", fork_of=fork_of)


async def list_fork(backend: MemoryBackend, host: Host, fork: Note) -> None:
    await rooms.list_fork(backend, host, fork, fork.session_id, 1)


def entry(memory: Memory) -> dict[str, Any]:
    return memory.values[rooms.key("r", "claude")]


def test_forks_that_many_hosts_list_at_once_are_all_listed() -> None:
    memory = Memory()
    forks = [note(str(uuid.uuid4()), U) for _ in range(40)]

    async def story() -> None:
        each_on_its_host = [list_fork(SlowBackend(memory), A, fork) for fork in forks]
        await asyncio.gather(*each_on_its_host)

    asyncio.run(story())
    listed = {fork["session_id"] for fork in entry(memory)["forks"]}
    assert listed == {fork.session_id for fork in forks}


def test_a_fork_of_a_room_that_nobody_has_registered_makes_its_entry() -> None:
    memory = Memory()
    asyncio.run(list_fork(MemoryBackend(memory), A, note(V, U)))
    assert (entry(memory)["session_id"], entry(memory)["earlier"]) == (U, [])


def test_heads_that_a_person_left_are_another_list_than_forks() -> None:
    memory = Memory()
    backend = MemoryBackend(memory)
    fork = note(str(uuid.uuid4()), U)

    async def story() -> None:
        await rooms.move(backend, A, note(U), U)
        await list_fork(backend, B, fork)
        await rooms.move(backend, A, note(V), V)

    asyncio.run(story())
    assert (entry(memory)["session_id"], entry(memory)["earlier"]) == (V, [U])
    assert [it["session_id"] for it in entry(memory)["forks"]] == [fork.session_id]


def test_a_fork_that_becomes_the_head_is_no_fork_any_more() -> None:
    memory = Memory()
    backend = MemoryBackend(memory)

    async def story() -> None:
        await list_fork(backend, A, note(V, U))
        await rooms.move(backend, A, note(V), V)

    asyncio.run(story())
    assert (entry(memory)["forks"], entry(memory)["earlier"]) == ([], [U])


def test_what_a_newer_version_adds_to_an_entry_stays() -> None:
    memory = Memory()
    backend = MemoryBackend(memory)

    async def story() -> None:
        await rooms.move(backend, A, note(U), U)
        entry(memory)["more"] = 1
        await rooms.move(backend, A, note(V), V)
        await list_fork(backend, A, note(U, V))

    asyncio.run(story())
    assert entry(memory)["more"] == 1


def test_a_room_that_began_without_the_fleet_is_registered_once() -> None:
    memory = Memory()
    backend = MemoryBackend(memory)

    async def story() -> list[str]:
        return [await rooms.register(backend, A, note(each)) for each in (U, V)]

    assert asyncio.run(story()) == [U, U]


def test_a_room_is_dropped_only_while_its_entry_is_the_one_that_was_seen() -> None:
    memory = Memory()
    backend = MemoryBackend(memory)

    async def story() -> None:
        await rooms.move(backend, A, note(U), U)
        seen = dict(entry(memory))
        await rooms.move(backend, A, note(V), V)
        await rooms.drop(backend, "r", "claude", seen)

    asyncio.run(story())
    assert entry(memory)["session_id"] == V
