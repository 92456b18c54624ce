"""The store after a power cut: the disk keeps any mixture of old and new blocks of 4 KiB."""

import json
import os
import posix
import random
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from shim.base import times
from shim.base.session_key import derive, stored_key
from shim.store.store import Store

BLOCK = 4096
ROOMS = 150
DROPPED = {3, 40, 90}
MOMENTS = 40
MIXTURES = 6
"""So many at each moment at which the power is cut."""


class Disk:
    """The files of a store as a disk may have them, from the calls that write and flush them."""

    def __init__(self, store: Store) -> None:
        self._paths = {name: f"{store.path}{name}" for name in ("", ".bak")}
        self.moments: list[dict[str, list[list[bytes]]]] = []
        # Of each file: its contents since it was last flushed, the first one is on disk.
        self._contents: dict[int, list[bytes]] = {}
        # Under each name: the files that it may lead to.
        self._files = {name: [self._seen(path)] for name, path in self._paths.items()}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Note what may be on disk after each call that changes a file."""
        with pytest.MonkeyPatch.context() as patch:
            for name in ("pwrite", "ftruncate", "fsync", "rename"):
                patch.setattr(posix, name, self._noting(name, getattr(posix, name)))
            yield

    def mixtures(self, chance: random.Random) -> Iterator[tuple[int, dict[str, bytes]]]:
        """Moments at which the power is cut, and what is in both files then."""
        every = range(len(self.moments))
        for number in sorted(chance.sample(every, min(MOMENTS, len(every)))):
            for _ in range(MIXTURES):
                files = self.moments[number].items()
                yield number, {name: mixed(chance, chance.choice(them)) for name, them in files}

    def _noting(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*args: Any) -> Any:
            if name == "rename":
                self._seen(args[0])
            elif not os.fstat(args[0]).st_mode & 0o040000:
                self._seen(f"/proc/self/fd/{args[0]}")
            result = call(*args)
            self._note(name, *args)
            self.moments.append(
                {
                    each: [list(self._contents[inode]) for inode in inodes]
                    for each, inodes in self._files.items()
                }
            )
            return result

        return noted

    def _note(self, name: str, *args: Any) -> None:
        if name == "rename":
            inode = os.stat(args[1]).st_ino
            for each, path in self._paths.items():
                if path == args[1]:
                    self._files[each].append(inode)
            return
        status = os.fstat(args[0])
        if status.st_mode & 0o040000:  # of the directory: a new name is on disk
            self._files = {each: inodes[-1:] for each, inodes in self._files.items()}
            return
        contents = self._contents[status.st_ino]
        if name == "fsync":
            del contents[:-1]
        else:
            contents.append(os.pread(args[0], 1 << 24, 0))

    def _seen(self, path: str) -> int:
        inode = os.stat(path).st_ino
        self._contents.setdefault(inode, [Path(path).read_bytes()])
        return inode


def mixed(chance: random.Random, contents: list[bytes]) -> bytes:
    """Each block as it was in any of the contents."""
    longest = chance.choice([max(contents, key=len), contents[0], contents[-1]])
    blocks = []
    for at in range(0, len(longest), BLOCK):
        block = chance.choice([contents[0], contents[-1], chance.choice(contents)])
        blocks.append(block[at : at + BLOCK].ljust(min(BLOCK, len(longest) - at), b"\0"))
    return b"".join(blocks)


def room(number: int) -> str:
    return f"room-{number:04}"


class World:
    """A store of many rooms with ids of their own, and all ids that each has had."""

    def __init__(self, root: Path) -> None:
        self.store = Store(str(root / "nsed"))
        self.ids: dict[str, list[str]] = {}
        self.disk: Disk | None = None
        self.recorded: list[tuple[int, str, str]] = []
        """Before which moment a call had recorded a session of which room."""
        now = times.now()
        entries = {}
        for number in range(ROOMS):
            self.ids[room(number)] = [str(uuid.UUID(int=number + 1, version=4))]
            entry = {"uuid": self.ids[room(number)][0], "last_used": now}
            entries[room(number)] = {"claude": entry}
        Path(self.store.directory).mkdir(mode=0o700)
        text = json.dumps(entries, indent=2).encode()
        for name in ("", ".bak"):
            Path(self.store.path + name).write_bytes(text)
            Path(self.store.path + name).chmod(0o600)

    def record(self, number: int, session_id: str) -> None:
        self.ids.setdefault(room(number), []).append(session_id)
        self.store.record(room(number), "claude", session_id)
        assert self.disk is not None
        self.recorded.append((len(self.disk.moments), room(number), session_id))


def new_id() -> str:
    return str(uuid.uuid4())


def add_derived(world: World) -> None:
    for number in range(ROOMS, ROOMS + 30):
        world.record(number, derive(stored_key(room(number), "claude")))


def add_with_ids(world: World) -> None:
    for number in range(ROOMS, ROOMS + 30):
        world.record(number, new_id())


def touch(world: World) -> None:
    for number in range(0, ROOMS, 10):
        world.store.recall(room(number), "claude")


def change(world: World) -> None:
    for number in range(0, ROOMS, 7):
        world.record(number, new_id())


def change_over_two_blocks(world: World) -> None:
    data = Path(world.store.path).read_bytes()
    starts = [found.start() + 9 for found in re.finditer(rb'"uuid": "', data)]
    numbers = [n for n, at in enumerate(starts) if at // BLOCK != (at + 35) // BLOCK]
    assert numbers
    for number in numbers:
        world.record(number, new_id())


def drop(world: World) -> None:
    mappings = world.store.mappings()
    world.store.drop({room(number): mappings[room(number)] for number in DROPPED})


def another_agent(world: World) -> None:
    world.store.record(room(5), "another", new_id())


def repair(world: World) -> None:
    path = Path(world.store.path)
    path.write_bytes(path.read_bytes()[: 3 * BLOCK])
    world.store.recall(room(1), "claude")


def all_of_it(world: World) -> None:
    add_derived(world)
    change(world)
    drop(world)
    world.record(ROOMS + 50, derive(stored_key(room(ROOMS + 50), "claude")))


KINDS = [
    *(add_derived, add_with_ids, touch, change, change_over_two_blocks),
    *(drop, another_agent, repair, all_of_it),
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_each_room_has_its_own_session_and_none_recorded_is_lost(
    tmp_path: Path, kind: Callable[[World], None]
) -> None:
    world = World(tmp_path)
    world.disk = Disk(world.store)
    with world.disk.watching():
        kind(world)
    last = {name: session_id for _, name, session_id in world.recorded}

    chance = random.Random(kind.__name__)
    for moment, files in world.disk.mixtures(chance):
        after = Store(str(tmp_path / "after"))
        Path(after.directory).mkdir(mode=0o700)
        for name, content in files.items():
            Path(after.path + name).write_bytes(content)
        found = {name: entries["claude"]["uuid"] for name, entries in after.mappings().items()}
        assert all(session_id in world.ids[name] for name, session_id in found.items()), moment
        for since, name, session_id in world.recorded:
            is_derived = session_id == derive(stored_key(name, "claude"))
            if since <= moment and not is_derived and last[name] == session_id:
                assert found[name] == session_id, moment
        for number in set(range(0, ROOMS, 9)) - DROPPED:
            assert after.recall(room(number), "claude") in world.ids[room(number)], moment
        shutil.rmtree(after.directory)
