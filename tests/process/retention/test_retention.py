"""Conversations that claude's clean-up took, and the housekeeping that a call starts."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import filelock
import psutil
import pytest

from tests.support.real_claude import TIMEOUT
from tests.support.recorder import World, derived, wait_until, write_program

ROOM = "r"
U = derived(ROOM)
DAY = 86400.0
THERE = Path("/another/project")


@pytest.fixture(autouse=True)
def in_a_mapped_room(world: World) -> None:
    world.environment["NSED_ROOM_ID"] = ROOM
    world.map(ROOM, "claude", U)


def kept(world: World, session_id: str = U) -> Path:
    return world.store.parent / "kept" / f"{session_id}.jsonl"


def stamp(world: World) -> Path:
    return world.store.with_name("housekeeping")


def keep(world: World, idle: float, project: Path | None = None) -> Path:
    """A kept conversation, idle for so many days, whose transcript is gone; where that was."""
    transcript = world.transcript(U, project)
    world.call("-p", "hi")
    written = time.time() - idle * DAY
    os.utime(transcript, (written, written))
    transcript.unlink()
    return transcript


def a_day_later(world: World) -> None:
    """Let housekeeping be due."""
    yesterday = time.time() - 1.01 * DAY
    os.utime(stamp(world), (yesterday, yesterday))


def housekeeping_of(world: World) -> list[psutil.Process]:
    """The housekeeping processes of this world's store."""
    return processes_naming(world.store.parent)


def processes_naming(store: Path) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(store) in (process.info["cmdline"] or [])
    ]


def has_kept_house(world: World) -> bool:
    return not housekeeping_of(world)


def test_a_resumed_conversation_has_a_second_link_to_its_transcript(world: World) -> None:
    transcript = world.transcript(U)
    world.call("-p", "hi")
    assert kept(world).samefile(transcript)
    assert kept(world).parent.stat().st_mode & 0o777 == 0o700


def test_one_that_claude_cleaned_up_is_put_back_and_resumed(world: World) -> None:
    transcript = keep(world, idle=400)
    call = world.call("-p", "hi")
    assert call.args[:2] == [b"--resume", U.encode()]
    assert transcript.samefile(kept(world))
    assert time.time() - transcript.stat().st_mtime < DAY


def test_one_of_another_project_is_put_back_there_and_resumed_by_its_path(world: World) -> None:
    transcript = keep(world, idle=400, project=THERE)
    call = world.call("-p", "hi")
    assert call.args[:2] == [b"--resume", str(transcript).encode()]
    assert transcript.exists()


def test_one_that_a_person_deleted_starts_afresh_and_is_kept_no_longer(world: World) -> None:
    transcript = keep(world, idle=1)
    call = world.call("-p", "hi")
    assert call.args[:2] == [b"--session-id", U.encode()]
    assert not kept(world).exists()
    assert not transcript.exists()


def test_one_that_the_caller_names_is_put_back_and_resumed(world: World) -> None:
    transcript = keep(world, idle=400)
    call = world.call("--session-id", U, "-p", "hi")
    assert call.args[:2] == [b"--resume", U.encode()]
    assert transcript.exists()


def test_with_nothing_to_be_kept_nothing_is_linked(world: World) -> None:
    world.environment["NSED_KEEP_DAYS"] = "0"
    world.transcript(U)
    world.call("-p", "hi")
    assert not kept(world).exists()


def test_days_that_are_no_number_are_one_warning(world: World) -> None:
    world.environment["NSED_KEEP_DAYS"] = "a year"
    world.transcript(U)
    run = world.run("-p", "hi")
    assert "NSED_KEEP_DAYS=a year is no number of days; using 365" in run.warning
    assert kept(world).exists()


def test_a_store_without_links_or_stamp_is_no_trouble(world: World) -> None:
    transcript = world.transcript(U)
    kept(world).parent.write_text("no directory")
    assert world.call("-p", "hi").args[:2] == [b"--resume", U.encode()]
    assert transcript.exists()


def test_a_new_store_has_nothing_to_keep_house_in(world: World) -> None:
    home = world.root / "another home"
    world.environment["HOME"] = str(home)
    said = world.run("-p", "hi", env={"NSED_SHIM_DEBUG": "1"})
    assert processes_naming(home / ".nsed") == []
    assert (home / ".nsed" / "housekeeping").exists()
    assert not (home / ".nsed" / "housekeeping.lock").exists()
    assert "no housekeeping" not in said.stderr.decode()


def test_a_day_later_a_call_starts_the_housekeeping_and_the_next_does_not(world: World) -> None:
    transcript = world.transcript(U)
    kept(world).parent.mkdir()
    a_day_later(world)
    world.call("-c")
    assert not kept(world).exists()
    world.environment["NSED_ROOM_ID"] = "another room"
    world.call("-p", "hi")
    wait_until(kept(world).exists)
    wait_until(lambda: has_kept_house(world))
    assert kept(world).samefile(transcript)
    kept(world).unlink()
    world.call("-p", "hi")
    assert has_kept_house(world)
    assert not kept(world).exists()


def test_a_clock_that_was_ahead_does_not_put_housekeeping_off_for_ever(world: World) -> None:
    world.transcript(U)
    ahead = time.time() + 400 * DAY
    os.utime(stamp(world), (ahead, ahead))
    world.environment["NSED_ROOM_ID"] = "another room"
    world.call("-p", "hi")
    wait_until(kept(world).exists)


def test_a_store_that_cannot_be_stamped_gets_no_housekeeping(world: World) -> None:
    stamp(world).unlink()
    stamp(world).mkdir(mode=0o700)
    os.utime(stamp(world), (0, 0))
    world.call("-p", "hi")
    assert has_kept_house(world)


def test_housekeeping_never_shows(world: World) -> None:
    world.claude.then("read -r line")
    world.transcript(U)
    a_day_later(world)
    kept(world).parent.mkdir()
    kept(world, derived("without a transcript")).touch()
    lock = filelock.FileLock(world.store.with_name("kept.lock"), mode=0o600)
    lock.acquire()  # so that it waits, and can be looked at
    claude = world.start("-p", "hi", stdin=subprocess.PIPE, start_new_session=True)
    wait_until(lambda: kept(world).exists() and len(housekeeping_of(world)) == 1)
    (process,) = housekeeping_of(world)
    assert process.nice() == 19
    assert os.getsid(process.pid) not in (os.getsid(claude.pid), os.getsid(0))
    # Those of the recorder end; a zombie of ours would stay.
    wait_until(lambda: psutil.Process(claude.pid).children() == [])

    def targets_of(pid: int) -> list[str]:
        found = []
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # it has just been closed
                found.append(os.readlink(path))
        return found

    def is_all_its_own() -> bool:
        """Whether nothing is open but the null device and what lies in the store.

        A transcript is open while housekeeping reads it; what it inherited would stay.
        """
        targets = set(targets_of(process.pid))
        outside = {path for path in targets if not path.startswith(str(world.store.parent))}
        return str(own_lock) in targets and outside == {os.devnull}

    own_lock = world.store.with_name("housekeeping.lock")
    wait_until(is_all_its_own)
    assert process.cwd() == "/"
    # Who reads claude's output to its end waits for claude alone.
    _, errors = claude.communicate(b"go on\n", timeout=TIMEOUT)
    assert (claude.returncode, errors) == (0, b"")
    assert process.is_running()
    lock.release()
    process.wait(30)


def test_twenty_calls_beside_it_and_a_kill_lose_nothing(world: World) -> None:
    write_program(world.claude.path, "#!/bin/sh\n")  # the recorder records one call at a time
    rooms = [f"room {n}" for n in range(20)]
    for room in rooms:
        world.transcript(derived(room))
        world.run("-p", "hi", env={"NSED_ROOM_ID": room})
    for kill in (False, True):
        for room in rooms[::2]:
            kept(world, derived(room)).unlink()
        a_day_later(world)
        calls = [world.start("-p", "hi", env={"NSED_ROOM_ID": room}) for room in rooms]
        if kill:
            wait_until(lambda: housekeeping_of(world) or kept(world, derived(rooms[0])).exists())
            for process in housekeeping_of(world):
                process.kill()
        for call in calls:
            assert call.communicate(timeout=TIMEOUT) == (b"", b"")
        wait_until(lambda: has_kept_house(world))
        for room in rooms:
            (transcript,) = world.home.glob(f".claude/projects/*/{derived(room)}.jsonl")
            assert kept(world, derived(room)).samefile(transcript)
