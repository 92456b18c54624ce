"""The store, changed by many processes at once and by processes that are killed."""

import contextlib
import fcntl
import json
import os
import posix
import random
import select
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from shim.base import files
from shim.store import locked_file, relocations
from shim.store.store import Store

PATIENCE = 300


def fork(work: Callable[[int], None]) -> tuple[int, int]:
    """Run some work in a child of its own; return its pid and the end to read its lines from."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, reading
    failed = 1
    try:
        silence = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silence, 2)
        work(writing)
        failed = 0
    finally:
        os._exit(failed)


def lines(reading: int) -> Iterator[str]:
    with os.fdopen(reading) as file:
        for line in file:
            yield line.rstrip("\n")


class PausingPosix:
    """The posix module, but one of its calls, counted from the first, stops half-way."""

    def __init__(self, pause_at: int, report: int) -> None:
        self.calls_left = pause_at
        self.report = report

    def __getattr__(self, name: str) -> Any:
        real = getattr(posix, name)
        if name not in ("open", "pwrite", "fsync", "rename", "ftruncate", "close"):
            return real

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls_left -= 1
            if self.calls_left:
                return real(*args, **kwargs)
            if name == "pwrite":
                file, data, at = args
                real(file, data[: len(data) // 2], at)
            os.write(self.report, b"PAUSED\n")
            signal.pause()
            return None

        return call


def add_keys(sessions: Store, life: int, report: int) -> None:
    for number in range(5):
        room, agent = f"room-{number}", f"agent-{life}"
        session_id = str(uuid.uuid4())
        sessions.record(room, agent, session_id)
        os.write(report, f"{room} {agent} {session_id}\n".encode())


# The calls of one change: those of the backup (open, write, fsync, close, rename, and the
# directory's open, fsync, close) and of the file itself (open, reserve, mark, fsync, rest,
# truncate, fsync, unmark, close).
CALLS_OF_A_CHANGE = 17


def test_kills_lose_no_key_whose_call_returned(tmp_path: Path, long: bool) -> None:
    sessions = Store(str(tmp_path))
    chance = random.Random(20261122)
    returned: dict[tuple[str, str], str] = {}
    sessions.record("before", "all", str(uuid.uuid4()))  # there is a file to look at
    torn = 0
    lives = 2000 if long else 120
    for life in range(lives):
        pauses = life % 2 == 0

        def work(report: int, life: int = life, pauses: bool = pauses) -> None:
            if pauses:
                pausing = PausingPosix(1 + life // 2 % (2 * CALLS_OF_A_CHANGE), report)
                files.posix = locked_file.posix = pausing
            add_keys(sessions, life, report)

        pid, reading = fork(work)
        if not pauses:
            select.select([reading], [], [], PATIENCE)
            select.select([], [], [], chance.random() / 100)
            os.kill(pid, signal.SIGKILL)
        for line in lines(reading):
            if line == "PAUSED":
                os.kill(pid, signal.SIGKILL)
            else:
                room, agent, session_id = line.split()
                returned[room, agent] = session_id
        os.waitpid(pid, 0)
        for damaged in tmp_path.glob("*.corrupt-*"):
            torn += 1
            damaged.unlink()
        if life % 50 == 0:
            start_afresh(sessions, returned)
    assert_all_there(sessions, returned)
    assert torn > lives // 20


def start_afresh(sessions: Store, returned: dict[tuple[str, str], str]) -> None:
    """Check what is there and empty the store, so that many lives don't take for ever."""
    assert_all_there(sessions, returned)
    returned.clear()
    sessions.cleanup_stale(-1)


def assert_all_there(sessions: Store, returned: dict[tuple[str, str], str]) -> None:
    mappings = sessions.mappings()
    for (room, agent), session_id in returned.items():
        assert mappings[room][agent]["uuid"] == session_id
    on_disk = Path(sessions.path).read_text() or "{}"
    assert json.loads(on_disk) == mappings


def record_as_the_seed_does(path: str, room: str, agent: str, session_id: str) -> None:
    """`SessionStore::with_locked_map` of the seed, call by call."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        content = os.read(file, os.fstat(file).st_size)
        mappings = json.loads(content) if content.strip() else {}
        mappings.setdefault(room, {})[agent] = {
            "uuid": session_id,
            "last_used": "2026-11-22T16:26:24.123456789Z",
        }
        os.lseek(file, 0, os.SEEK_SET)
        os.ftruncate(file, 0)
        os.write(file, json.dumps(mappings, indent=2, ensure_ascii=False).encode())
    finally:
        os.close(file)


def test_writers_of_ours_and_of_the_seed_lose_no_update(tmp_path: Path, long: bool) -> None:
    ours, seeds, rounds = 8, 4, 500 if long else 45
    sessions = Store(str(tmp_path))
    sessions.record("room", "first", "id")

    def write(record: Callable[[str, str, str], None], name: str) -> Callable[[int], None]:
        def work(report: int) -> None:
            for number in range(rounds):
                # Its own keys, each written again and again: a lost update would show at once.
                room, agent = f"room-{number % 5}", f"{name}-{number % 3}"
                last = str(number - 15) if number >= 15 else None
                assert sessions.recall(room, agent) == last
                record(room, agent, str(number))
            os.write(report, b"done\n")

        return work

    def seed(room: str, agent: str, session_id: str) -> None:
        record_as_the_seed_does(sessions.path, room, agent, session_id)

    running = [fork(write(sessions.record, f"ours-{n}")) for n in range(ours)]
    running += [fork(write(seed, f"seeds-{n}")) for n in range(seeds)]
    try:
        assert [list(lines(reading)) for _, reading in running] == [["done"]] * (ours + seeds)
    finally:
        for pid, _ in running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    mappings = sessions.mappings()
    names = [f"ours-{n}" for n in range(ours)] + [f"seeds-{n}" for n in range(seeds)]
    for name in names:
        for number in range(rounds - 15, rounds):
            entry = mappings[f"room-{number % 5}"][f"{name}-{number % 3}"]
            assert entry["uuid"] == str(number)
    assert not list(tmp_path.glob("*.corrupt-*"))


def test_cleaning_up_beside_live_writers_drops_only_what_is_stale(tmp_path: Path) -> None:
    sessions = Store(str(tmp_path))
    stale = {"uuid": "old", "last_used": "2020-01-01T00:00:00Z"}
    Path(sessions.path).write_text(
        json.dumps({f"old-{n}": {"a": stale} for n in range(200)}, indent=2)
    )

    def work(report: int) -> None:
        for number in range(200):
            sessions.record(f"room-{number}", str(os.getpid()), "id")
        os.write(report, b"done\n")

    running = [fork(work) for _ in range(3)]
    dropped = 0
    while dropped < 200:
        dropped += sessions.cleanup_stale(30 * 86400)
    assert [list(lines(reading)) for _, reading in running] == [["done"]] * 3
    for pid, _ in running:
        os.waitpid(pid, 0)
    assert sum(map(len, sessions.mappings().values())) == 600


def test_two_imports_at_once_note_the_directories_of_both(tmp_path: Path) -> None:
    def work(name: str) -> Callable[[int], None]:
        def note(report: int) -> None:
            for number in range(50):
                relocations.remember(str(tmp_path), {f"/{name}/{number}": "/here"})
            os.write(report, b"done\n")

        return note

    running = [fork(work(name)) for name in ("one", "other")]
    assert [list(lines(reading)) for _, reading in running] == [["done"]] * 2
    for pid, _ in running:
        os.waitpid(pid, 0)
    assert len(relocations.known(str(tmp_path))) == 100
