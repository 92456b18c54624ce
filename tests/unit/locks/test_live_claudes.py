"""Who runs: holders of locks, those in line, unmanaged ones, and what the system knows of them."""

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from shim.base.session_key import SessionKey
from shim.claude import registry
from shim.locks import live_claudes
from shim.locks.live_claudes import HeldLock
from tests.support.children import Fork
from tests.support.locks import lock_of_key, wait_for_key
from tests.support.real_claude import wait_until

KEY = SessionKey(b"room", b"agent")
U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"


@pytest.fixture
def directory(tmp_path: Path) -> str:
    return str(tmp_path)


def taken(
    directory: str, key: SessionKey = KEY, is_long_running: bool = False
) -> Callable[[], bool]:
    return lambda: lock_of_key(directory, key).try_acquire(is_long_running)


class TestHolders:
    def test_without_a_lock_there_is_none_and_no_file_is_made(self, directory: str) -> None:
        assert live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent) is None
        assert not live_claudes.held_locks(directory)
        assert os.listdir(directory) == []

    @pytest.mark.parametrize("is_long_running", [True, False])
    def test_the_holder_is_known_with_whether_it_is_long_running(
        self, directory: str, fork: Fork, is_long_running: bool
    ) -> None:
        child = fork(taken(directory, is_long_running=is_long_running))
        assert child.said() == "True"
        assert live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent) == HeldLock(
            child.pid, is_long_running
        )

    def test_each_key_has_its_own(self, directory: str, fork: Fork) -> None:
        keys = [
            SessionKey(room, agent)
            for room in (b"", b"r", "réf 🙂\n".encode(), b"caf\xe9")
            for agent in (b"claude", b"a", b"\xff")
        ]
        children = {key: fork(taken(directory, key)) for key in keys}
        for child in children.values():
            assert child.said() == "True"
        holders = live_claudes.held_locks(directory)
        for key, child in children.items():
            # As the store has their names: the text alone.
            assert holders.for_key(key.room, key.agent) == HeldLock(
                child.pid, is_long_running=False
            )
        assert holders.for_key("r", "nobody") is None

    def test_those_in_line_are_listed_in_their_order(self, directory: str, fork: Fork) -> None:
        holder = fork(taken(directory, is_long_running=True))
        assert holder.said() == "True"
        line: list[int] = []
        for _ in range(3):
            child = fork(lambda: wait_for_key(directory, KEY))
            line.append(child.pid)
            wait_until(lambda: waiting(directory) == tuple(line), "another stands in line")
        assert live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent) == HeldLock(
            holder.pid, True, tuple(line)
        )

    def test_the_first_in_line_has_it_in_a_moment(self, directory: str, fork: Fork) -> None:
        child = fork(lambda: lock_of_key(directory, KEY).enter_queue())
        child.said()
        assert live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent) == HeldLock(
            child.pid, is_long_running=False
        )

    def test_who_has_just_come_out_of_the_line_is_no_longer_in_it(
        self, directory: str, fork: Fork
    ) -> None:
        def out_of_the_line() -> bool:
            mine = lock_of_key(directory, KEY)
            # The bytes of the lock and of the first place are one lock to the kernel.
            mine.enter_queue()
            return mine.try_acquire(is_long_running=True)

        child = fork(out_of_the_line)
        assert child.said() == "True"
        assert live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent) == HeldLock(
            child.pid, is_long_running=True
        )

    def test_many_cost_two_questions_each_whatever_the_number_of_keys(
        self, directory: str, fork: Fork, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        keys = [SessionKey(b"%d" % number, b"a") for number in range(40)]
        # Opened before any is taken: opening another closes a descriptor, which gives all back.
        locks = [lock_of_key(directory, key) for key in keys]
        child = fork(lambda: all(lock.try_acquire(is_long_running=False) for lock in locks))
        assert child.said() == "True"
        questions = []
        ask = fcntl.fcntl

        def count(*args: Any) -> Any:
            questions.append(args)
            return ask(*args)

        monkeypatch.setattr(fcntl, "fcntl", count)
        holders = live_claudes.held_locks(directory)
        found = [room for room in range(1000) if holders.for_key(f"{room}", "a")]
        assert found == list(range(40))
        assert len(questions) <= 2 * len(keys) + 1
        for lock in locks:
            os.close(lock._file)

    def test_looking_takes_nothing_from_anybody(self, directory: str, fork: Fork) -> None:
        child = fork(taken(directory))
        child.said()
        for _ in range(3):
            assert live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent) == HeldLock(
                child.pid, is_long_running=False
            )
        child.kill()
        assert lock_of_key(directory, KEY).try_acquire(is_long_running=False)

    def test_half_a_character_that_json_can_hold_has_no_holder(
        self, directory: str, fork: Fork
    ) -> None:
        fork(taken(directory)).said()
        assert live_claudes.held_locks(directory).for_key("\ud800", "\udcff") is None

    def test_a_holder_unknown_to_the_store_has_the_names_it_exports(
        self, directory: str, fork: Fork, claude: "Claude"
    ) -> None:
        nameless = fork(taken(directory, SessionKey(b"forgotten", b"a")))
        named = claude(taking=directory, NSED_ROOM_ID="réf\n", NSED_AGENT_NAME="a")
        known = fork(taken(directory))
        assert (nameless.said(), known.said()) == ("True", "True")
        found = live_claudes.held_locks(directory).except_keys([(KEY.room, KEY.agent)])
        assert {(key and str(key), holder.pid) for key, holder in found} == {
            (None, nameless.pid),
            (str(SessionKey("réf\n".encode(), b"a")), named.pid),
        }


def waiting(directory: str) -> tuple[int, ...]:
    holder = live_claudes.held_locks(directory).for_key(KEY.room, KEY.agent)
    return holder.waiting if holder else ()


Claude = Callable[..., "subprocess.Popen[bytes]"]

_TAKING = """\
import os, sys
from shim.locks.record_lock import Lock, open_lock_file, key_offset
names = [os.environ[name] for name in ("NSED_ROOM_ID", "NSED_AGENT_NAME")]
lock = Lock(open_lock_file(sys.argv[1]), key_offset(*names)) if sys.argv[1] else None
print(lock is None or lock.try_acquire(False), flush=True)
os.execv("/bin/sh", ["claude", "-c", "read -r line", *sys.argv[2:]])
"""


@pytest.fixture
def claude() -> Iterator[Claude]:
    """Starts a process with claude's arguments, which takes the lock of its names on request."""
    running = []

    def start(*args: str, taking: str = "", **names: str) -> "subprocess.Popen[bytes]":
        names = {"NSED_ROOM_ID": "", "NSED_AGENT_NAME": "", **names}
        process = subprocess.Popen(
            [sys.executable, "-c", _TAKING, taking, *args],
            env={**os.environ, **names},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        running.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"True\n"
        wait_until(lambda: is_claude(process.pid), "it has become claude")
        return process

    yield start
    for process in running:
        with process:
            process.kill()


def is_claude(pid: int) -> bool:
    return psutil.Process(pid).cmdline()[:1] == ["claude"]


class TestProcesses:
    @pytest.mark.parametrize(
        ("args", "is_long_running", "kind"),
        [
            (["-p", "hi"], False, "one-shot"),
            (["hi"], False, "one-shot"),
            (["hi"], True, "interactive"),
            ([], None, "interactive"),
            (["-p", "hi"], None, "one-shot"),
            (["--input-format", "stream-json", "-p"], True, "streaming"),
            (["--input-format=stream-json"], None, "streaming"),
            (["--append-system-prompt", "--input-format=stream-json"], True, "interactive"),
        ],
    )
    def test_the_kind_follows_from_the_lock_and_the_command_line(
        self, claude: Claude, args: list[str], is_long_running: bool | None, kind: str
    ) -> None:
        process = live_claudes.process(claude(*args).pid, is_long_running)
        assert process is not None
        assert process.kind == kind

    def test_what_the_system_tells_of_it(self, claude: Claude) -> None:
        started = claude()
        process = live_claudes.process(started.pid, is_long_running=False)
        assert process is not None
        assert process.pid == started.pid
        assert process.since == psutil.Process(started.pid).create_time()
        assert process.memory > 100_000
        assert process.directory == os.getcwd()

    @pytest.mark.parametrize("pid", [0, -1, 2**22 + 1])
    def test_of_one_that_is_gone_or_elsewhere_nothing_is_known(self, pid: int) -> None:
        assert live_claudes.process(pid) is None
        assert live_claudes.key_of(pid) is None

    def test_one_with_the_lock_goes_before_unmanaged_ones(self, claude: Claude) -> None:
        own, strange = claude("-p"), claude("--input-format", "stream-json")
        first, second = live_claudes.claudes([HeldLock(own.pid, False, (7, 8))], [strange.pid])
        assert (first.pid, first.kind, first.is_unmanaged) == (own.pid, "one-shot", False)
        assert first.waiting == (7, 8)
        assert (second.pid, second.kind, second.is_unmanaged) == (strange.pid, "streaming", True)

    @pytest.mark.parametrize(("is_long_running", "kind"), [(False, "one-shot"), (True, None)])
    def test_one_in_another_container_is_known_by_its_lock_alone(
        self, is_long_running: bool, kind: str | None
    ) -> None:
        (found,) = live_claudes.claudes([HeldLock(0, is_long_running)], [])
        assert (found.kind, found.process, found.is_unmanaged) == (kind, None, False)


class TestStrangers:
    def test_a_claude_on_the_conversation_without_its_lock_is_unmanaged(self) -> None:
        assert live_claudes.unmanaged([], U, {11: U, 12: "another"}) == [11]

    def test_the_holder_is_none_nor_is_what_it_started(self, claude: Claude) -> None:
        child = claude()
        on_it = {os.getpid(): U, child.pid: U}
        assert live_claudes.unmanaged([HeldLock(os.getpid(), True)], U, on_it) == []
        assert live_claudes.unmanaged([HeldLock(child.pid, True)], U, on_it) == [os.getpid()]


class TestRegistry:
    @pytest.fixture
    def sessions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        import posix

        monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(tmp_path))
        return tmp_path / "sessions"

    def test_without_a_registry_nobody_is_known(self, sessions: Path) -> None:
        assert registry.conversations() == {}

    def test_those_that_live_are_known_by_pid(self, sessions: Path) -> None:
        sessions.mkdir()
        start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
        entry = {"pid": os.getpid(), "sessionId": U, "procStart": start}
        (sessions / "1.json").write_text(json.dumps(entry))
        (sessions / "2.json").write_text(json.dumps({**entry, "pid": 2**22 + 1}))
        (sessions / "3.json").write_text(json.dumps({**entry, "procStart": "1"}))
        (sessions / "4.json").write_text(json.dumps({"pid": os.getpid(), "procStart": start}))
        (sessions / "5.json").write_text("{")
        (sessions / "6.txt").write_text(json.dumps(entry))
        assert registry.conversations() == {os.getpid(): U}
