"""The store: each behaviour of the seed, and what it adds."""

import contextlib
import errno
import fcntl
import json
import os
import posix
import pwd
import random
import re
import resource
import stat
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from shim.base import times
from shim.base.messages import Failure
from shim.claude import transcripts
from shim.store import document, history, lock_holders, store
from shim.store.store import Store

UUIDS = [f"00000000-0000-4000-8000-{number:012d}" for number in range(100)]


@pytest.fixture
def sessions(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "nsed"))


@pytest.fixture
def many_open() -> Iterator[Callable[[int], None]]:
    """Have so many files open, until the end of the test."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened: list[int] = []

    def open_files(count: int) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(limits[0], 2 * count), limits[1]))
        opened.extend(os.open(os.devnull, os.O_RDONLY) for _ in range(count))

    yield open_files
    for file in opened:
        os.close(file)
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def write(sessions: Store, content: str | bytes) -> None:
    Path(sessions.directory).mkdir(mode=0o700, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    Path(sessions.path).write_bytes(data)
    Path(sessions.path).chmod(0o600)


def read(sessions: Store) -> Any:
    return json.loads(Path(sessions.path).read_text())


def entry(session_id: str, days_ago: float = 0) -> dict[str, str]:
    used = datetime.now(timezone.utc) - timedelta(days=days_ago)
    return {"uuid": session_id, "last_used": used.isoformat().replace("+00:00", "Z")}


def aside(sessions: Store) -> list[bytes]:
    return [path.read_bytes() for path in Path(sessions.directory).glob("*.corrupt-*")]


def mode(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


class TestTheSeedsBehaviours:
    def test_what_is_recorded_is_got(self, sessions: Store) -> None:
        sessions.record("room-1", "agent-a", "uuid-aaa")
        assert sessions.get("room-1", "agent-a") == "uuid-aaa"

    def test_what_is_missing_is_none(self, sessions: Store) -> None:
        assert sessions.get("no-room", "no-agent") is None

    def test_agents_of_one_room_are_apart(self, sessions: Store) -> None:
        sessions.record("room-1", "agent-a", "uuid-a")
        sessions.record("room-1", "agent-b", "uuid-b")
        assert sessions.get("room-1", "agent-a") == "uuid-a"
        assert sessions.get("room-1", "agent-b") == "uuid-b"

    def test_rooms_of_one_agent_are_apart(self, sessions: Store) -> None:
        sessions.record("room-1", "agent-a", "uuid-1a")
        sessions.record("room-2", "agent-a", "uuid-2a")
        assert sessions.get("room-1", "agent-a") == "uuid-1a"
        assert sessions.get("room-2", "agent-a") == "uuid-2a"

    def test_recording_again_replaces_the_id(self, sessions: Store) -> None:
        sessions.record("room-1", "agent-a", "uuid-old")
        sessions.record("room-1", "agent-a", "uuid-new")
        assert sessions.get("room-1", "agent-a") == "uuid-new"

    def test_cleanup_drops_what_is_stale_and_counts_it(self, sessions: Store) -> None:
        write(
            sessions,
            json.dumps(
                {
                    "old-room": {"agent-a": entry("old-uuid", days_ago=30)},
                    "new-room": {"agent-b": entry("new-uuid")},
                }
            ),
        )
        assert sessions.cleanup_stale(7 * 86400) == 1
        assert sessions.get("old-room", "agent-a") is None
        assert sessions.get("new-room", "agent-b") == "new-uuid"

    def test_cleanup_drops_rooms_left_empty(self, sessions: Store) -> None:
        write(sessions, json.dumps({"stale-room": {"agent-a": entry("gone", days_ago=100)}}))
        assert sessions.cleanup_stale(7 * 86400) == 1
        assert read(sessions) == {}

    def test_cleanup_of_a_file_that_is_not_there_drops_nothing(self, sessions: Store) -> None:
        assert sessions.cleanup_stale(7 * 86400) == 0

    def test_an_empty_file_has_no_mappings(self, sessions: Store) -> None:
        write(sessions, "")
        assert sessions.get("any", "any") is None

    def test_mappings_outlive_the_process(self, tmp_path: Path) -> None:
        Store(str(tmp_path)).record("room-1", "agent-a", "uuid-abc")
        assert Store(str(tmp_path)).get("room-1", "agent-a") == "uuid-abc"

    def test_a_corrupt_file_heals_and_is_kept_aside(self, sessions: Store) -> None:
        write(sessions, "{ not valid json !!!")
        sessions.record("room", "agent", "uuid")
        assert sessions.get("room", "agent") == "uuid"
        assert aside(sessions) == [b"{ not valid json !!!"]

    def test_parent_directories_are_made_private(self, tmp_path: Path) -> None:
        deep = tmp_path / "deep" / "nested"
        previous = os.umask(0)
        try:
            Store(str(deep)).record("room-1", "agent-a", "uuid-deep")
        finally:
            os.umask(previous)
        assert Store(str(deep)).get("room-1", "agent-a") == "uuid-deep"
        assert [mode(str(path)) for path in (deep.parent, deep)] == [0o700, 0o700]
        assert mode(str(deep / "sessions.json")) == 0o600

    def test_threads_recording_at_once_lose_nothing(self, sessions: Store) -> None:
        threads = [
            threading.Thread(target=sessions.record, args=("room", f"agent-{n}", f"uuid-{n}"))
            for n in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {agent: e["uuid"] for agent, e in read(sessions)["room"].items()} == {
            f"agent-{n}": f"uuid-{n}" for n in range(8)
        }

    def test_processes_recording_at_once_lose_nothing(self, sessions: Store) -> None:
        program = (
            "import sys; from shim.store.store import Store\n"
            "for n in range(5): Store(sys.argv[1]).record(f'room-{n}', sys.argv[2], sys.argv[2])"
        )
        running = [
            subprocess.Popen([sys.executable, "-c", program, sessions.directory, f"agent-{n}"])
            for n in range(8)
        ]
        assert [process.wait(30) for process in running] == [0] * 8
        assert {room: len(agents) for room, agents in read(sessions).items()} == {
            f"room-{n}": 8 for n in range(5)
        }

    def test_empty_names_are_names(self, sessions: Store) -> None:
        sessions.record("", "", "uuid-empty")
        assert sessions.get("", "") == "uuid-empty"

    def test_special_characters_are_kept(self, sessions: Store) -> None:
        sessions.record("oc-abc123-def456", "Sir_Wunderwaffel/v2", "uuid-special")
        assert sessions.get("oc-abc123-def456", "Sir_Wunderwaffel/v2") == "uuid-special"

    def test_recording_again_renews_the_time_of_use(self, sessions: Store) -> None:
        sessions.record("room", "agent", "uuid-1")
        first = read(sessions)["room"]["agent"]["last_used"]
        sessions.record("room", "agent", "uuid-2")
        second = read(sessions)["room"]["agent"]
        assert second["last_used"] > first
        assert second["uuid"] == "uuid-2"

    def test_a_file_of_the_seeds_program_is_read_and_ours_has_its_form(
        self, sessions: Store
    ) -> None:
        # As serde_json writes it: pretty, names raw, chrono's time with nanoseconds.
        write(
            sessions,
            '{\n  "raum-ü": {\n    "agent": {\n      "uuid": "' + UUIDS[0] + '",\n'
            '      "last_used": "2026-03-04T05:06:07.123456789Z"\n    }\n  }\n}',
        )
        assert sessions.recall("raum-ü", "agent") == UUIDS[0]
        sessions.record("raum-ü", "b", UUIDS[1])
        text = Path(sessions.path).read_text()
        assert text == json.dumps(json.loads(text), indent=2, ensure_ascii=False)


class TestWhereItIs:
    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"NSED_SESSION_DIR": "/s", "HOME": "/h", "USERPROFILE": "/u"}, "/s"),
            ({"NSED_SESSION_DIR": "", "HOME": "/h", "USERPROFILE": "/u"}, "/h/.nsed"),
            ({"HOME": "", "USERPROFILE": "/u"}, "/u/.nsed"),
            ({"USERPROFILE": "/u"}, "/u/.nsed"),
        ],
    )
    def test_the_first_variable_that_is_set_says_where(
        self, environ: dict[str, str], expected: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_environment(monkeypatch, environ)
        assert store.directory() == expected

    def test_without_home_it_is_in_the_home_that_the_password_database_has(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_environment(monkeypatch, {"TMPDIR": str(tmp_path / "tmp")})
        set_home(monkeypatch, str(tmp_path))
        assert store.directory() == str(tmp_path / ".nsed")
        assert transcripts.config_directory() == str(tmp_path / ".claude")

    @pytest.mark.parametrize("home", ["nonexistent", "anothers"])
    def test_a_home_that_is_missing_or_anothers_does_not_serve(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: str
    ) -> None:
        set_environment(monkeypatch, {"TMPDIR": str(tmp_path), "USER": "me"})
        set_home(monkeypatch, str(tmp_path / home))
        (tmp_path / "anothers").mkdir()
        if os.geteuid() == 0:
            os.chown(tmp_path / "anothers", 12345, -1)
        else:
            (tmp_path / "anothers").rmdir()
        assert store.lasting_directory() is None

    def test_what_was_recorded_without_home_is_taken_over_once(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        set_environment(monkeypatch, {"TMPDIR": str(tmp_path), "USER": "me"})
        set_home(monkeypatch, str(tmp_path))
        seeds, own = Store(str(tmp_path / "nsed-sessions-me")), Store(str(tmp_path / ".nsed"))
        own.record("both", "a", UUIDS[0])
        own.record("own", "a", UUIDS[1])
        seeds.record("both", "a", UUIDS[2])
        seeds.record("seeds", "a", UUIDS[3])
        assert store.directory() == own.directory
        heads = {room: entries["a"]["uuid"] for room, entries in read(own).items()}
        assert heads == {"both": UUIDS[2], "own": UUIDS[1], "seeds": UUIDS[3]}
        (earlier,) = history.earlier(own.directory, "both", "a")
        assert earlier["uuid"] == UUIDS[0]
        assert seeds.get("seeds", "a") == UUIDS[3]
        own.drop({"seeds": read(own)["seeds"]})
        store.directory()
        assert own.get("seeds", "a") is None

    def test_without_a_home_a_temporary_directory_of_this_user_serves(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        set_home(monkeypatch, None)
        set_environment(monkeypatch, {"TMPDIR": str(tmp_path), "USER": "me"})
        assert store.directory() == str(tmp_path / "nsed-sessions-me")
        assert mode(store.directory()) == 0o700
        assert "neither HOME nor USERPROFILE" in capsys.readouterr().err

    def test_a_temporary_directory_that_is_a_link_is_refused(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "nsed-sessions-me").symlink_to(tmp_path / "elsewhere")
        set_home(monkeypatch, None)
        set_environment(monkeypatch, {"TMPDIR": str(tmp_path), "USER": "me"})
        with pytest.raises(Failure, match="not your own directory"):
            store.directory()


def set_home(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    """Set what the password database has as this user's home."""

    def entry(_: int) -> SimpleNamespace:
        if home is None:
            raise KeyError
        return SimpleNamespace(pw_dir=home)

    monkeypatch.setattr(pwd, "getpwuid", entry)


def set_environment(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> None:
    for name in ("NSED_SESSION_DIR", "HOME", "USERPROFILE", "TMPDIR", "USER", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)


class TestPrivacy:
    def test_a_loose_file_and_directory_are_tightened_by_any_use(self, sessions: Store) -> None:
        sessions.record("r", "a", "id")
        os.chmod(sessions.directory, 0o755)
        os.chmod(sessions.path, 0o644)
        sessions.recall("r", "a")
        assert (mode(sessions.directory), mode(sessions.path)) == (0o700, 0o600)

    def test_the_backup_and_what_is_kept_aside_are_private(self, sessions: Store) -> None:
        write(sessions, "broken")
        sessions.record("r", "a", "id")
        names = sorted(os.listdir(sessions.directory))
        assert [name.split("-")[0] for name in names] == [
            *("sessions.json", "sessions.json.bak", "sessions.json.corrupt")
        ]
        assert {mode(os.path.join(sessions.directory, name)) for name in names} == {0o600}

    def test_a_directory_that_all_share_is_refused_and_left_as_it_is(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o1777)
        with pytest.raises(Failure, match="not yours alone"):
            Store(str(tmp_path)).record("r", "a", "id")
        assert mode(str(tmp_path)) == 0o1777

    def test_a_file_of_another_user_is_refused(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions.record("r", "a", "id")
        monkeypatch.setattr(posix, "geteuid", lambda: os.stat(sessions.path).st_uid + 1)
        with pytest.raises(Failure, match="belongs to another user"):
            sessions.recall("r", "a")

    def test_a_link_to_the_file_or_the_directory_is_followed_and_kept(self, tmp_path: Path) -> None:
        (tmp_path / "dotfiles" / "nsed").mkdir(parents=True)
        (tmp_path / ".nsed").symlink_to(tmp_path / "dotfiles" / "nsed")
        (tmp_path / "dotfiles" / "real.json").touch(mode=0o600)
        link = tmp_path / ".nsed" / "sessions.json"
        link.symlink_to(tmp_path / "dotfiles" / "real.json")
        sessions = Store(str(tmp_path / ".nsed"))
        for number in range(3):
            sessions.record("r", f"a{number}", UUIDS[number])
        assert sessions.recall("r", "a1") == UUIDS[1]
        assert link.is_symlink()
        assert (tmp_path / ".nsed").is_symlink()
        assert len(json.loads((tmp_path / "dotfiles" / "real.json").read_text())["r"]) == 3


class TestLocking:
    def test_the_file_keeps_its_inode_through_every_change(self, sessions: Store) -> None:
        sessions.record("r", "a", "id")
        inode = os.stat(sessions.path).st_ino
        for number in range(5):
            sessions.record(f"r{number}", "a", "id")
        sessions.cleanup_stale(-1)
        assert os.stat(sessions.path).st_ino == inode

    def test_a_lock_that_is_never_given_up_is_waited_for_only_so_long(
        self, sessions: Store
    ) -> None:
        sessions.timeout = 0.05
        sessions.record("r", "a", "id")
        with open(sessions.path) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(Failure, match="stays locked by another process"):
                sessions.record("r", "b", "id")
            assert sessions.recall("r", "a") == "id"

    def test_what_is_half_written_under_a_stuck_lock_is_left_as_it_is(
        self, sessions: Store
    ) -> None:
        sessions.record("r", "a", "id")
        half = Path(sessions.path).read_bytes()[:50]
        Path(sessions.path).write_bytes(half)
        sessions.timeout = 0.05
        with open(sessions.path) as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            assert sessions.recall("r", "a") == "id"  # as the backup has it
        assert Path(sessions.path).read_bytes() == half
        assert aside(sessions) == []

    @pytest.mark.parametrize("open_files", [0, 1100])
    def test_a_lock_that_is_long_in_coming_is_waited_for_in_the_kernels_line(
        self, sessions: Store, many_open: Callable[[int], None], open_files: int
    ) -> None:
        sessions.record("r", "a", "id")
        many_open(open_files)
        # Gives the lock up when, by /proc/locks, somebody stands in line for it.
        hog = (
            "import fcntl, os, sys, time\n"
            "file = open(sys.argv[1])\n"
            "fcntl.flock(file, fcntl.LOCK_EX); print(flush=True)\n"
            "waits = f':{os.fstat(file.fileno()).st_ino} '\n"
            "end = time.monotonic() + 20\n"
            "while not any('->' in line and waits in line for line in open('/proc/locks')):\n"
            "    if time.monotonic() > end: sys.exit('nobody stands in line')\n"
            "    time.sleep(0.01)\n"
        )
        command = [sys.executable, "-c", hog, sessions.path]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            process.stdout.readline()
            sessions.record("r", "b", "id")
        assert process.returncode == 0
        assert sessions.get("r", "b") == "id"

    def test_a_file_replaced_while_its_lock_was_waited_for_is_opened_again(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions.record("r", "a", "old")
        replacement = Path(sessions.directory, "new")
        replacement.write_text(Path(sessions.path).read_text().replace('"old"', '"new"'))
        flock = fcntl.flock

        def replace_then_lock(file: int, operation: int) -> None:
            if replacement.exists():
                replacement.rename(sessions.path)
            flock(file, operation)

        monkeypatch.setattr(fcntl, "flock", replace_then_lock)
        assert sessions.recall("r", "a") == "new"


class TestDamage:
    def test_a_torn_store_is_recovered_from_its_backup(
        self, sessions: Store, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for number in range(3):
            sessions.record("r", f"a{number}", UUIDS[number])
        whole = Path(sessions.path).read_bytes()
        write(sessions, whole[:100])
        assert sessions.recall("r", "a2") == UUIDS[2]
        assert {agent: e["uuid"] for agent, e in read(sessions)["r"].items()} == {
            f"a{number}": UUIDS[number] for number in range(3)
        }
        assert aside(sessions) == [whole[:100]]
        assert capsys.readouterr().err.count("is damaged") == 1
        assert sessions.recall("r", "a2") == UUIDS[2]
        assert capsys.readouterr().err == ""

    def test_an_emptied_store_is_recovered_from_its_backup(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        write(sessions, "")
        assert sessions.recall("r", "a") == UUIDS[0]

    def test_a_store_that_is_gone_is_recovered_from_its_backup(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        os.unlink(sessions.path)
        assert sessions.recall("r", "a") == UUIDS[0]
        assert list(read(sessions)["r"]) == ["a"]

    def test_a_store_that_the_seeds_program_began_anew_is_recovered(self, sessions: Store) -> None:
        """So it does with one that is torn or empty, as a kill leaves it."""
        for number in range(3):
            sessions.record(f"r{number}", "a", UUIDS[number])
        entry = {"uuid": UUIDS[9], "last_used": times.now()}
        write(sessions, json.dumps({"new": {"a": entry}}, indent=2))
        assert sessions.recall("r1", "a") == UUIDS[1]
        assert list(read(sessions)) == ["new", "r0", "r1", "r2"]
        sessions.record("r3", "a", UUIDS[3])
        assert list(read(sessions)) == ["new", "r0", "r1", "r2", "r3"]

    def test_what_another_program_cleaned_up_or_took_out_stays_out(self, sessions: Store) -> None:
        old, now = "2020-01-02T03:04:05Z", times.now()
        mappings = {f"r{n}": {"a": {"uuid": UUIDS[n], "last_used": old}} for n in range(3)}
        write(sessions, json.dumps(mappings, indent=2))
        sessions.record("r3", "a", UUIDS[3])
        kept = read(sessions)
        for room in ("r0", "r3"):  # the one for its age, the other by hand
            write(sessions, json.dumps({name: kept[name] for name in kept if name != room}))
            assert sessions.recall(room, "a") is None
        only_one = {"r1": {"a": {"uuid": UUIDS[1], "last_used": now}}}
        write(sessions, json.dumps(only_one, indent=2))
        Path(f"{sessions.path}.bak").write_text(json.dumps(mappings, indent=2))
        os.utime(f"{sessions.path}.bak", (0, 0))
        assert sessions.recall("r0", "a") is None

    def test_what_a_torn_file_has_beyond_the_backup_is_recovered_too(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        torn = {"r": {"new": entry(UUIDS[1]), "a": entry(UUIDS[2]), "lost": entry(UUIDS[3])}}
        text = json.dumps(torn, indent=2)
        write(sessions, text[: text.index("lost")])
        assert sessions.recall("r", "new") == UUIDS[1]
        assert sessions.recall("r", "a") == UUIDS[2]

    def test_a_line_of_megabytes_in_a_damaged_store_costs_little_memory(self) -> None:
        pieces = '{"uuid"\n  "r": {\n    "' + "a" * 10_000_000
        tracemalloc.start()
        try:
            assert document.salvage(pieces.encode()) == {}
            assert tracemalloc.get_traced_memory()[1] < 100_000_000
        finally:
            tracemalloc.stop()

    def test_what_stands_whole_in_a_damaged_store_is_found(self) -> None:
        whole = {"r": {"a": entry(UUIDS[0]), "b": entry(UUIDS[1])}, "s": {"a": entry(UUIDS[2])}}
        text = json.dumps(whole, indent=2)
        assert document.salvage(text[:-1].encode()) == whole
        assert document.salvage(text.replace("last_used", "last", 1)[:-1].encode()) == {
            "r": {"b": whole["r"]["b"]},
            "s": whole["s"],
        }
        assert document.salvage(text.replace('"s": {', '"s": 1', 1).encode()) == {"r": whole["r"]}

    def test_nothing_nested_beyond_reading_hides_the_rest(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        sessions.record("r", "a", UUIDS[1])
        path = Path(sessions.directory, "history.jsonl")
        path.write_text("[" * 100_000 + "\n" + '{"a":' * 100_000 + "\n" + path.read_text())
        assert [line["uuid"] for line in history.earlier(sessions.directory, "r", "a")] == [
            UUIDS[0]
        ]

    def test_what_the_backup_alone_has_does_not_count_as_stale(self, sessions: Store) -> None:
        write(sessions, json.dumps({"r": {"a": entry(UUIDS[0], days_ago=100)}}))
        sessions.record("r", "b", UUIDS[1])
        write(sessions, "torn")
        sessions.recall("r", "a")
        assert sessions.cleanup_stale(30 * 86400) == 0

    def test_a_flipped_byte_costs_at_most_the_room_it_is_in(self, sessions: Store) -> None:
        rooms = {f"room-{n}": {"a": entry(UUIDS[n]), "b": entry(UUIDS[n])} for n in range(9)}
        write(sessions, json.dumps(rooms, indent=2).replace('"room-4"', '"room-4'))
        recovered = sessions.mappings()
        assert recovered == {name: rooms[name] for name in rooms if name != "room-4"}

    def test_one_entry_of_a_wrong_type_does_not_take_the_others_along(
        self, sessions: Store
    ) -> None:
        document = {"r": {"a": entry(UUIDS[0]), "b": 5}, "s": [], "t": {"a": {"uuid": UUIDS[1]}}}
        write(sessions, json.dumps(document))
        assert sessions.recall("r", "a") == UUIDS[0]
        assert sessions.recall("t", "a") == UUIDS[1]
        assert [json.loads(content) for content in aside(sessions)] == [document]

    def test_fields_that_others_add_to_an_entry_are_kept(self, sessions: Store) -> None:
        write(sessions, json.dumps({"r": {"a": {**entry(UUIDS[0]), "model": {"name": "m"}}}}))
        sessions.recall("r", "a")
        sessions.record("r", "a", UUIDS[1])
        assert read(sessions)["r"]["a"]["model"] == {"name": "m"}
        assert read(sessions)["r"]["a"]["uuid"] == UUIDS[1]

    def test_a_thousand_corrupt_stores_raise_nothing_and_are_kept_aside(
        self, tmp_path: Path
    ) -> None:
        chance = random.Random(20261122)
        for number in range(1000):
            sessions = Store(str(tmp_path / str(number)))
            content = corrupted(chance)
            write(sessions, content)
            sessions.record("room-1", "new", UUIDS[0])
            sessions.recall("room-1", "agent-1")
            assert read(sessions)["room-1"]["new"]["uuid"] == UUIDS[0]
            assert aside(sessions) == [content] or loses_nothing(content, read(sessions))

    @pytest.mark.parametrize(
        "content",
        [
            pytest.param(b"\0" * 100_000_000, id="100 MB of zeros"),
            pytest.param(b"[" * 1_000_000, id="deep nesting"),
            pytest.param(b'{"a":' * 1_000_000, id="deep objects"),
            pytest.param(b'{"a": ' + b"9" * 1_000_000 + b"}", id="a huge number"),
            pytest.param(b'{"r": {"a": NaN}}', id="no JSON but what Python takes for it"),
            pytest.param(b"\xff\xfe{}", id="UTF-16"),
        ],
    )
    def test_absurd_content_is_kept_aside(self, sessions: Store, content: bytes) -> None:
        write(sessions, content)
        sessions.record("r", "a", UUIDS[0])
        assert list(read(sessions)) == ["r"]
        assert aside(sessions) == [content]


def corrupted(chance: random.Random) -> bytes:
    """A store with a random fault in it."""
    rooms: Any = {
        f"room-{room}": {f"agent-{agent}": entry(UUIDS[agent]) for agent in range(3)}
        for room in range(3)
    }
    kind = chance.randrange(6)
    if kind == 0:
        return json.dumps(chance.choice([[rooms], 5, "text", None, True])).encode()
    if kind == 1:
        rooms["room-1"] = chance.choice([[], 5, "text", None])
    elif kind == 2:
        rooms["room-1"]["agent-1"] = chance.choice([[], 5, "text", None, {}])
    elif kind == 3:
        field = chance.choice(["uuid", "last_used"])
        rooms["room-1"]["agent-1"][field] = chance.choice([[], 5, None, {}, 10**400])
    data = bytearray(json.dumps(rooms, indent=2).encode())
    if kind == 4:
        del data[chance.randrange(len(data)) :]
    elif kind == 5:
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def loses_nothing(content: bytes, mappings: Any) -> bool:
    """Whether content that was not kept aside is a store whose mappings are all there."""
    rooms = json.loads(content or b"{}")
    return all(
        mappings[room][agent]["uuid"] == entry["uuid"]
        for room, agents in rooms.items()
        for agent, entry in agents.items()
    )


Fault = Callable[..., Any]


def failing(number: int) -> Fault:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


class TestFaults:
    """A fault at each system call of the rewriting way loses no mapping."""

    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
    @pytest.mark.parametrize("call", ["open", "pwrite", "fsync", "rename", "ftruncate"])
    @pytest.mark.parametrize("after", [0, 1, 2, 3, 4])
    def test_a_failing_call_leaves_the_old_mappings(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch, call: str, number: int, after: int
    ) -> None:
        sessions.record("r", "a", UUIDS[0])
        sessions.record("r", "b", UUIDS[1])
        with monkeypatch.context() as faulty:
            faulty.setattr(posix, call, after_calls(after, getattr(posix, call), number))
            with contextlib.suppress(Failure):
                sessions.record("s", "new", UUIDS[2])
        assert sessions.recall("r", "a") == UUIDS[0]
        assert sessions.recall("r", "b") == UUIDS[1]
        assert sessions.recall("s", "new") in (None, UUIDS[2])

    def test_a_full_disk_is_noticed_before_the_file_is_touched(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions.record("r", "a", UUIDS[0])
        before = Path(sessions.path).read_bytes()
        writes = after_calls(1, os.pwrite, errno.ENOSPC)
        with monkeypatch.context() as faulty:
            faulty.setattr(posix, "pwrite", writes)
            with pytest.raises(Failure):
                sessions.record("r", "b", UUIDS[1])
        assert Path(sessions.path).read_bytes() == before

    def test_short_writes_are_carried_on(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions.record("r", "a", UUIDS[0])
        pwrite = os.pwrite
        monkeypatch.setattr(
            posix, "pwrite", lambda file, data, at: pwrite(file, bytes(data[:7]), at)
        )
        sessions.record("r", "b", UUIDS[1])
        assert sessions.recall("r", "a") == UUIDS[0]
        assert sessions.recall("r", "b") == UUIDS[1]

    def test_a_lock_the_filesystem_does_not_have_is_said(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions.record("r", "a", UUIDS[0])
        monkeypatch.setattr(fcntl, "flock", failing(errno.ENOLCK))
        with pytest.raises(Failure, match=os.strerror(errno.ENOLCK)):
            sessions.recall("r", "a")


def after_calls(count: int, real: Fault, number: int) -> Fault:
    """The real call so many times, and from then on a fault."""
    calls = iter([real] * count)

    def call(*args: Any, **kwargs: Any) -> Any:
        return next(calls, failing(number))(*args, **kwargs)

    return call


def history_of(sessions: Store) -> list[dict[str, str]]:
    lines = Path(sessions.directory, "history.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


class TestChanging:
    """Many mappings changed at once, and what they were before noted in the history."""

    def test_what_the_action_does_is_stored_and_what_it_returns_is_noted(
        self, sessions: Store
    ) -> None:
        sessions.record("r", "a", UUIDS[0])
        sessions.record("s", "b", UUIDS[1])
        old = read(sessions)["r"]["a"]

        def forget(mappings: Any) -> Any:
            return [("r", "a", mappings["r"].pop("a"))]

        sessions.change(forget)
        assert list(read(sessions)) == ["s"]
        assert sessions.get("s", "b") == UUIDS[1]
        assert history_of(sessions) == [{"room": "r", "agent": "a", **old}]
        assert mode(f"{sessions.directory}/history.jsonl") == 0o600

    def test_a_store_that_is_not_there_is_made(self, sessions: Store) -> None:
        def add(mappings: Any) -> Any:
            mappings["r"] = {"a": entry(UUIDS[0])}
            return []

        sessions.change(add)
        assert sessions.get("r", "a") == UUIDS[0]
        assert mode(sessions.directory) == 0o700

    def test_without_the_history_nothing_is_changed(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        Path(sessions.directory, "history.jsonl").mkdir()

        def forget(mappings: Any) -> Any:
            return [("r", "a", mappings["r"].pop("a"))]

        with pytest.raises(Failure, match=os.strerror(errno.EISDIR)):
            sessions.change(forget)
        assert sessions.get("r", "a") == UUIDS[0]

    def test_a_damaged_store_is_mended_first(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        sessions.record("r", "b", UUIDS[1])
        write(sessions, Path(sessions.path).read_bytes()[:60])

        def forget(mappings: Any) -> Any:
            return [("r", "a", mappings["r"].pop("a"))]

        sessions.change(forget)
        assert list(read(sessions)["r"]) == ["b"]
        assert len(aside(sessions)) == 1

    def test_of_many_heads_that_are_gone_housekeeping_keeps_the_last_used_twenty_of_each_key(
        self, sessions: Store
    ) -> None:
        sessions.record("r", "a", UUIDS[0])
        sessions.record("s", "a", UUIDS[1])
        heads = [("r", "a", entry(UUIDS[n], days_ago=n)) for n in range(30)]
        sessions.change(lambda _: [*heads[:10], ("s", "a", entry(UUIDS[50])), *heads[10:]])
        assert len(history.earlier(sessions.directory, "r", "a")) == 30
        history.forget(sessions.directory, sessions.mappings(), there={UUIDS[29]})
        noted = history.earlier(sessions.directory, "r", "a")
        assert [line["uuid"] for line in noted] == [UUIDS[29], *UUIDS[19::-1]]
        assert len(history.earlier(sessions.directory, "s", "a")) == 1
        assert len(history.everything(sessions.directory)) == 22

    def test_lines_of_the_history_that_are_no_heads_are_passed_over(self, sessions: Store) -> None:
        sessions.record("r", "a", UUIDS[0])
        lines = '5\n{"room": ["r"], "agent": "a"}\n{"room": "r", "agent": "a", "uuid": 5}\n'
        Path(sessions.directory, "history.jsonl").write_text(lines)
        sessions.record("r", "a", UUIDS[1])
        assert [line["uuid"] for line in history.earlier(sessions.directory, "r", "a")] == UUIDS[:1]


class TestWhoHasTheLock:
    def test_a_lock_that_stays_taken_names_its_holder(self, sessions: Store) -> None:
        sessions.record("r", "a", "id")
        sessions.timeout = 0.05
        hold = "import fcntl, sys; fcntl.flock(sys.stdin, fcntl.LOCK_EX); print(flush=True)"
        wait = "; sys.stdout.close(); import signal; signal.pause()"
        with (
            open(sessions.path) as file,
            subprocess.Popen(
                [sys.executable, "-c", hold + wait], stdin=file, stdout=subprocess.PIPE
            ) as holder,
        ):
            assert holder.stdout is not None
            holder.stdout.readline()
            with pytest.raises(Failure, match=rf"another process: .+ \(pid {holder.pid}\)$"):
                sessions.record("r", "b", "id")
            holder.kill()

    def test_without_a_table_of_locks_those_that_have_the_file_open_are_named(
        self, sessions: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sessions.record("r", "a", "id")
        monkeypatch.setattr(lock_holders, "_holding", lambda _: [])
        program = "import sys; print(flush=True); sys.stdin.read(0); import signal; signal.pause()"
        with (
            open(sessions.path) as file,
            subprocess.Popen(
                [sys.executable, "-c", program], stdin=file, stdout=subprocess.PIPE
            ) as other,
        ):
            assert other.stdout is not None
            other.stdout.readline()
            named = lock_holders.named_holders(sessions.path)
            other.kill()
        assert re.fullmatch(rf": \S+ \(pid {other.pid}\)", named)

    def test_where_nobody_is_found_nobody_is_named(self, sessions: Store) -> None:
        sessions.record("r", "a", "id")
        assert lock_holders.named_holders(sessions.path) == ""
