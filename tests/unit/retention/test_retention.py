"""Retained conversations and the daily housekeeping, on directories."""

import errno
import gzip
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import filelock
import pytest

from shim.base import files, session_key
from shim.base.messages import Failure
from shim.claude import cleanup, spec_discovery, transcripts
from shim.claude.transcripts import Transcript
from shim.retention import housekeeping, pinning, pins, restoring, sidecars
from shim.store import history

U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
DAY = 86400.0
LINE = (
    '{"parentUuid":null,"isSidechain":false,"type":"user","message":{"role":"user"},"uuid":"1"}\n'
)
NEXT = LINE.replace("null", '"1"').replace('"uuid":"1"', '"uuid":"2"')
AFTER = NEXT.replace('"2"', '"3"').replace('"1"', '"2"')
ANOTHERS = LINE.replace('"1"', '"a"')


class World:
    """A store and claude's projects, in a home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.store = home / ".nsed"
        self.store.mkdir()
        self.projects = home / ".claude" / "projects"
        self.project = self.projects / "-work"
        self.project.mkdir(parents=True)

    def transcript(self, session_id: str = U, idle: float = 0, text: str = LINE) -> Path:
        """A transcript, idle for so many days."""
        path = self.path(session_id)
        path.write_text(text)
        return aged(path, idle)

    def path(self, session_id: str = U) -> Path:
        """Where the conversation's transcript is, if it is there."""
        return self.project / f"{session_id}.jsonl"

    def map(self, session_id: str, room: str = "r", unused: float = 0) -> None:
        """Map a room to a conversation, last used so many days ago."""
        path = self.store / "sessions.json"
        rooms = json.loads(path.read_text()) if path.exists() else {}
        used = time.strftime(
            "%Y-%m-%dT%H:%M:%S.000000000Z", time.gmtime(time.time() - unused * DAY)
        )
        rooms[room] = {"claude": {"uuid": session_id, "last_used": used}}
        path.write_text(json.dumps(rooms, indent=2))

    @property
    def rooms(self) -> list[str]:
        return list(json.loads((self.store / "sessions.json").read_text()))

    def pin(self, path: Path) -> bool:
        transcript = Transcript(str(path), True, path.stat())
        return pinning.pin(str(self.store), path.stem, transcript, is_ours=True)

    def restore(self, session_id: str = U) -> bool:
        """Put it back if that is the way; whether there is a transcript then."""
        pinning.restore(str(self.store), session_id)
        return self.path(session_id).exists()

    def keep_house(self) -> None:
        housekeeping.run(str(self.store), str(self.projects))

    def kept(self, session_id: str = U) -> Path:
        return self.store / "kept" / f"{session_id}.jsonl"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    monkeypatch.setenv("HOME", str(tmp_path))
    cleanup._general.cache_clear()
    cleanup._of_projects.cache_clear()
    return World(tmp_path)


def aged(path: Path, days: float) -> Path:
    written = time.time() - days * DAY
    os.utime(path, (written, written))
    return path


def idle(path: Path) -> float:
    """For how many days a file has not been written."""
    return (time.time() - path.stat().st_mtime) / DAY


def no_links(monkeypatch: pytest.MonkeyPatch, number: int = errno.EXDEV) -> None:
    """Let the filesystem have no hard links."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("os.link", fail)
    monkeypatch.setattr("posix.link", fail)


class TestAResumedConversation:
    def test_its_transcript_is_linked_once_and_stays_so(self, world: World) -> None:
        transcript = world.transcript()
        assert world.pin(transcript)
        assert world.pin(transcript)
        assert world.kept().samefile(transcript)
        assert transcript.stat().st_nlink == 2
        assert (world.store / "kept").stat().st_mode & 0o777 == 0o700

    def test_one_that_was_pinned_before_and_dropped_is_linked_with_its_new_place(
        self, world: World
    ) -> None:
        world.pin(world.transcript())
        world.kept().unlink()
        world.project.rename(world.projects / "-other")
        world.project = world.projects / "-other"
        assert world.pin(world.path())
        assert restoring.origin(str(world.store), U) == str(world.project / f"{U}.jsonl")

    def test_idle_for_half_a_day_it_counts_as_written_now(self, world: World) -> None:
        transcript = world.transcript(idle=0.6)
        assert world.pin(transcript)
        assert idle(transcript) < 0.1

    def test_idle_for_less_its_time_stays(self, world: World) -> None:
        transcript = world.transcript(idle=0.4)
        assert world.pin(transcript)
        assert idle(transcript) > 0.3

    def test_one_that_claude_takes_at_this_moment_is_reported_as_gone(self, world: World) -> None:
        transcript = world.transcript(idle=40)
        gone = Transcript(str(transcript), True, transcript.stat())
        world.pin(transcript)
        transcript.unlink()
        assert not pinning.pin(str(world.store), U, gone, is_ours=True)

    def test_nothing_is_pinned_for_no_days(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("NSED_KEEP_DAYS", "0")
        assert world.pin(world.transcript())
        assert not world.kept().exists()

    def test_without_hard_links_it_is_left_to_housekeeping(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_links(monkeypatch)
        assert world.pin(world.transcript())
        assert not world.kept().exists()


class TestATranscriptThatAnotherFileTookThePlaceOf:
    """As of a live claude whose transcript was cleaned up: its next turn starts a new one."""

    @staticmethod
    def replaced(world: World, idle: float, old: str, new: str) -> Path:
        """A transcript in the place of one that was deleted after so many idle days."""
        transcript = world.transcript(idle=idle, text=old)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        transcript.write_text(new)
        return transcript

    def test_gets_the_earlier_turns_back(self, world: World) -> None:
        transcript = self.replaced(world, 40, LINE.rstrip(), NEXT)
        assert world.pin(transcript)
        assert transcript.read_text() == LINE + NEXT
        assert world.kept().samefile(transcript)

    def test_gets_nothing_back_that_a_person_deleted(self, world: World) -> None:
        transcript = self.replaced(world, 1, LINE, NEXT)
        assert world.pin(transcript)
        assert transcript.read_text() == NEXT
        assert world.kept().samefile(transcript)

    def test_gets_nothing_twice_where_it_was_copied(self, world: World) -> None:
        transcript = self.replaced(world, 40, LINE, LINE + NEXT)
        assert world.pin(transcript)
        assert transcript.read_text() == LINE + NEXT
        assert world.kept().samefile(transcript)

    def test_is_left_alone_while_a_claude_may_write_it(self, world: World) -> None:
        transcript = self.replaced(world, 40, LINE, NEXT)
        world.map(U)
        world.keep_house()
        there = Transcript(str(transcript), True, transcript.stat())
        assert pinning.pin(str(world.store), U, there, is_ours=False)
        assert transcript.read_text() == NEXT
        assert world.kept().read_text() == LINE

    def test_is_kept_itself_where_what_was_kept_is_of_no_use(self, world: World) -> None:
        world.map(U)
        transcript = self.replaced(world, 40, "{}\n", LINE)
        world.keep_house()
        assert world.kept().samefile(transcript)

    def test_a_copy_that_has_more_is_not_overwritten(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_links(monkeypatch)
        world.map(U)
        transcript = world.transcript(idle=40, text=LINE + NEXT)
        world.keep_house()
        transcript.write_text(LINE)
        world.keep_house()
        assert world.kept().read_text() == LINE + NEXT
        assert world.pin(transcript)
        assert transcript.read_text() == LINE  # somebody cut it: doctor says so
        new = NEXT.replace('"2"', '"3"').replace('"isSidechain":false,', "")
        transcript.write_text(LINE + new)
        assert world.pin(transcript)
        assert transcript.read_text() == LINE + NEXT + new


class TestATranscriptThatClaudeShortened:
    """With `CLAUDE_CODE_TRANSCRIPT_LOCAL_GC` claude renames a shorter transcript over the old."""

    @staticmethod
    def shortened(world: World, keeps: bool) -> Path:
        """A transcript of two turns and more, of which claude has left the last and a new one."""
        world.map(U)
        transcript = world.transcript(text=LINE + NEXT)
        world.keep_house()
        if keeps:
            before = transcript.with_suffix("") / "before-cleanup" / "1-ab.jsonl.replaced"
            before.parent.mkdir(parents=True)
            before.hardlink_to(transcript)
        new = transcript.with_suffix(".tmp")
        new.write_text(NEXT + AFTER)
        new.replace(transcript)
        return transcript

    @pytest.mark.parametrize("keeps", [True, False])
    def test_is_the_conversation_from_the_next_call_on(self, world: World, keeps: bool) -> None:
        transcript = self.shortened(world, keeps)
        assert world.pin(transcript)
        assert transcript.read_text() == NEXT + AFTER
        assert world.kept().samefile(transcript)

    @pytest.mark.parametrize("keeps", [True, False])
    def test_outlives_the_clean_up(self, world: World, keeps: bool) -> None:
        transcript = self.shortened(world, keeps)
        world.keep_house()
        aged(transcript, 40).unlink()
        assert world.restore()
        assert transcript.read_text() == NEXT + AFTER

    def test_is_copied_anew(self, world: World) -> None:
        self.shortened(world, keeps=True)
        world.keep_house()
        copied = gzip.decompress(Path(pins.copy_of(str(world.kept()))).read_bytes())
        assert copied.decode() == NEXT + AFTER

    def test_is_pinned_where_pins_are_copies(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_links(monkeypatch)
        monkeypatch.setattr(Path, "hardlink_to", lambda new, old: shutil.copy2(old, new))
        transcript = self.shortened(world, keeps=True)
        assert world.pin(transcript)
        assert transcript.read_text() == world.kept().read_text() == NEXT + AFTER


@pytest.mark.parametrize(
    ("text", "days", "warns"),
    [("", 365, 0), ("0", 0, 0), ("0.5", 0.5, 0), ("soon", 365, 1), ("-1", 365, 1), ("nan", 365, 1)],
)
def test_the_days_to_retain_a_conversation(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    text: str,
    days: float,
    warns: int,
) -> None:
    monkeypatch.setenv("NSED_KEEP_DAYS", text)
    assert pins.days() == days
    assert capsys.readouterr().err.count("NSED_KEEP_DAYS") == warns


class TestATranscriptThatIsGone:
    def test_one_that_was_long_idle_is_restored_as_written_now(self, world: World) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        assert world.restore()
        assert transcript.samefile(world.kept())
        assert idle(transcript) < 0.1
        assert os.listdir(world.project) == [transcript.name]

    def test_its_project_may_be_gone_too(self, world: World) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        world.project.rmdir()
        assert world.restore()
        assert transcript.read_text() == LINE
        assert world.project.stat().st_mode & 0o777 == 0o700

    def test_one_that_was_young_was_deleted_by_a_person_and_is_no_longer_pinned(
        self, world: World
    ) -> None:
        transcript = world.transcript(idle=29)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        assert not world.restore()
        assert os.listdir(world.store / "kept") == []

    def test_one_that_was_young_when_it_was_deleted_stays_deleted_after_a_quiet_year(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcript = world.transcript(idle=1)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 400 * DAY)
        assert not world.restore()
        assert not world.kept().exists()

    def test_one_that_cannot_be_seen_is_not_deleted(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcript = world.transcript(idle=1)
        restoring.update_pin(str(world.store), U, str(transcript))
        lstat = os.lstat

        def refuse(path: str) -> os.stat_result:
            if path == str(transcript):
                raise PermissionError(errno.EACCES, "no", path)
            return lstat(path)

        monkeypatch.setattr("os.lstat", refuse)
        with pytest.raises(PermissionError):
            world.restore()
        assert world.kept().exists()

    def test_one_that_a_file_of_no_use_took_the_place_of_is_restored(self, world: World) -> None:
        transcript = world.transcript(idle=1)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        transcript.write_text("{}\n")
        pinning.begin_restore(str(world.store), U)
        transcripts.set_aside(str(transcript))  # and a kill here would change nothing
        assert world.restore()
        assert transcript.read_text() == LINE

    def test_one_that_is_of_no_use_itself_is_not_restored(self, world: World) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.write_text("{}\n")
        pinning.begin_restore(str(world.store), U)
        transcripts.set_aside(str(transcript))
        assert not world.restore()

    def test_it_is_restored_into_the_current_config_directory(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        (world.home / ".claude").rename(world.home / "moved")
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(world.home / "moved"))
        pinning.restore(str(world.store), U)
        assert (world.home / "moved" / "projects" / "-work" / f"{U}.jsonl").exists()

    def test_who_decides_without_end_is_not_waited_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.pin(world.transcript())
        world.path().unlink()
        monkeypatch.setattr(restoring, "_TIMEOUT", 0.05)
        with filelock.FileLock(f"{world.store}/kept.lock"), pytest.raises(TimeoutError):
            world.restore()
        assert world.kept().exists()

    def test_one_that_was_never_pinned_is_not_restored(self, world: World) -> None:
        assert not world.restore()

    def test_one_from_the_future_is_restored_because_the_clock_is_wrong(self, world: World) -> None:
        transcript = world.transcript(idle=-300)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        assert world.restore()

    def test_one_that_a_killed_call_began_to_restore_is_restored(self, world: World) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.rename(f"{transcript}.putting-back")
        aged(world.kept(), 0)
        assert world.restore()
        assert os.listdir(world.project) == [transcript.name]

    def test_one_that_another_call_has_restored_stays_as_it_is(self, world: World) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        os.link(transcript, f"{transcript}.putting-back")  # that one was killed at the end
        assert world.restore()
        assert idle(transcript) > 399
        assert os.listdir(world.project) == [transcript.name]

    def test_without_hard_links_a_copy_is_restored(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_links(monkeypatch)
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        assert world.restore()
        assert transcript.read_text() == LINE
        assert transcript.stat().st_mode & 0o777 == 0o600
        assert idle(transcript) < 0.1
        # Who deleted it cannot be told: no link tells when.
        transcript.unlink()
        assert world.restore()

    def test_where_it_cannot_be_restored_it_stays_pinned(self, world: World) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        world.project.rmdir()
        world.project.write_text("no directory")
        with pytest.raises(OSError, match="exists"):
            world.restore()
        assert world.kept().exists()


class TestCleanUpPeriod:
    @pytest.mark.parametrize(
        ("settings", "days"),
        [
            ({}, 30),
            ({".claude/settings.json": 365}, 365),
            ({".claude/settings.json": 5}, 5),
            ({"work/.claude/settings.json": 5}, 5),
            ({"work/.claude/settings.local.json": 5}, 5),
            ({"other/.claude/settings.json": 5}, 5),
            # to a claude anywhere else it is the default
            ({"work/.claude/settings.json": 365}, 30),
            ({".claude/settings.json": 365, "other/.claude/settings.json": 90}, 90),
            # claude takes none of these
            ({".claude/settings.json": 0}, 30),
            ({".claude/settings.json": -5}, 30),
            ({".claude/settings.json": 5.5}, 30),
            ({".claude/settings.json": "5"}, 30),
            ({".claude/settings.json": True}, 30),
        ],
    )
    def test_it_is_the_smallest_that_any_claude_here_goes_by(
        self, world: World, settings: dict[str, object], days: int
    ) -> None:
        other = str(world.home / "other")
        (world.home / ".claude.json").write_text(json.dumps({"projects": {other: {}}}))
        for name, value in settings.items():
            path = world.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps({"cleanupPeriodDays": value}))
        assert cleanup.period(str(world.project / "x.jsonl")) == days

    @pytest.mark.parametrize("room", ["its own", "another's"])
    def test_a_project_where_only_one_shots_ran_is_known_from_its_transcripts(
        self, world: World, room: str
    ) -> None:
        project = world.home / "project"
        (project / ".claude").mkdir(parents=True)
        (project / ".claude" / "settings.json").write_text('{"cleanupPeriodDays": 5}')
        line = LINE.replace("{", json.dumps({"cwd": str(project)})[:-1] + ",", 1)
        transcript = world.transcript(text=line, idle=6)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        if room == "another's":
            world.kept().unlink()
            world.transcript(U.replace("6f", "70"), text=line)
            transcript = world.transcript(idle=6)
            restoring.update_pin(str(world.store), U, str(transcript))
            transcript.unlink()
        assert world.restore()

    def test_settings_that_are_no_file_are_not_waited_for(self, world: World) -> None:
        os.mkfifo(world.home / ".claude" / "settings.json")
        assert cleanup.period(str(world.project / "x.jsonl")) == 30

    def test_settings_that_are_no_json_say_nothing(self, world: World) -> None:
        (world.home / ".claude" / "settings.json").write_text("{")
        (world.home / ".claude.json").write_text("[]")
        assert cleanup.period(str(world.project / "x.jsonl")) == 30


class TestADeletionThatIsNoPersons:
    """Where who deleted the transcript could be otherwise, it is restored."""

    @pytest.fixture
    def held(self, world: World) -> Path:
        transcript = world.transcript(idle=1)
        world.pin(transcript)
        return transcript

    @staticmethod
    def restored(path: Path) -> None:
        """A file as rsync and cloud copies restore it: another one, with the old time."""
        copy = path.with_suffix(".restored")
        shutil.copy2(path, copy, follow_symlinks=False)
        copy.replace(path)

    def test_but_a_persons_is_honoured(self, world: World, held: Path) -> None:
        held.unlink()
        assert not world.restore()

    def test_of_a_home_restored_without_hard_links(self, world: World, held: Path) -> None:
        self.restored(world.kept())
        held.unlink()  # claude's clean-up, of what was restored as it was 40 days ago
        assert world.restore()

    def test_of_a_home_restored_without_hard_links_in_housekeeping(
        self, world: World, held: Path
    ) -> None:
        world.map(U)
        self.restored(world.kept())
        held.unlink()
        world.keep_house()
        assert world.kept().exists()

    def test_a_kill_as_it_is_kept_leaves_no_second_name_that_hides_one(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcript = world.transcript()
        with monkeypatch.context() as killing:
            killing.setattr("os.replace", lambda *_: pytest.fail("there are two names meanwhile"))
            restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        assert not world.restore()

    def test_in_another_users_store_is_not_believed(
        self, world: World, held: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        held.unlink()
        theirs = SimpleNamespace(st_uid=os.geteuid() + 1, st_mode=0o040777)
        monkeypatch.setattr(files, "_status", lambda _: theirs)
        with pytest.raises(Failure):
            world.restore()
        assert not held.exists()

    def test_a_home_restored_with_files_in_the_place_of_links_is_pinned_anew(
        self, world: World, held: Path
    ) -> None:
        world.map(U)
        self.restored(world.kept())
        for note in (pins.origin_of(str(world.kept())), pins.link_of(str(world.kept()))):
            os.unlink(note)
            Path(note).touch()
        world.keep_house()
        assert world.kept().samefile(held)

    def test_of_a_store_moved_with_its_files_anew(self, world: World, held: Path) -> None:
        moved = world.home / "moved"
        world.store.rename(world.home / "old")
        shutil.copytree(world.home / "old", moved, symlinks=True)
        (moved / "kept" / world.kept().name).unlink()
        os.link(world.home / "old" / "kept" / world.kept().name, moved / "kept" / held.name)
        shutil.rmtree(world.home / "old")
        world.store = moved
        held.unlink()
        assert world.restore()

    def test_of_a_copy(self, world: World, monkeypatch: pytest.MonkeyPatch, held: Path) -> None:
        world.kept().unlink()
        no_links(monkeypatch)
        restoring.update_pin(str(world.store), U, str(held))
        held.unlink()
        assert world.restore()

    def test_of_one_that_still_has_another_name(self, world: World, held: Path) -> None:
        held.rename(world.home / "moved away by a person, or by a backup")
        assert world.restore()

    def test_of_one_written_before_the_clock_was_set_back(self, world: World, held: Path) -> None:
        aged(held, -20)
        held.unlink()
        assert world.restore()

    def test_of_one_whose_config_directory_is_gone(
        self, world: World, held: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(world.home / "another"))
        shutil.rmtree(world.home / ".claude")
        pinning.restore(str(world.store), U)
        assert (world.home / "another" / "projects" / "-work" / held.name).read_text() == LINE

    def test_of_one_that_was_kept_before_this_was_noted(self, world: World, held: Path) -> None:
        world.kept().with_suffix(".link").unlink()
        held.unlink()
        assert world.restore()

    def test_housekeeping_notes_it_for_those(self, world: World, held: Path) -> None:
        world.map(U)
        world.kept().with_suffix(".link").unlink()
        world.keep_house()
        held.unlink()
        assert not world.restore()


class TestTwoConfigDirectories:
    @pytest.fixture
    def other(self, world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
        """The project of another account, which is that of today."""
        account = world.home / "other"
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(account))
        project = account / "projects" / "-work"
        project.mkdir(parents=True)
        return project

    @staticmethod
    def found(world: World) -> str | None:
        transcript = pinning.restore(str(world.store), U)
        return transcript.path if transcript else None

    def test_the_second_resumes_the_conversation_of_the_first_and_says_so(
        self, world: World, other: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        transcript = world.transcript()
        restoring.update_pin(str(world.store), U, str(transcript))
        assert self.found(world) == str(transcript)
        assert capsys.readouterr().err == (
            f"claude-shim: resuming under {world.home}/other what was said under"
            f" {world.home}/.claude: config directories that must not mix need an NSED_SESSION_DIR"
            " each\n"
        )
        assert os.listdir(other) == []

    def test_also_where_the_first_has_only_begun_it(
        self, world: World, monkeypatch: pytest.MonkeyPatch, other: Path
    ) -> None:
        monkeypatch.delenv("CLAUDE_CONFIG_DIR")
        pinning.note_start(str(world.store), U)
        project = transcripts.this_project()
        assert project is not None
        begun = Path(project) / f"{U}.jsonl"
        begun.parent.mkdir(exist_ok=True)
        begun.write_text(LINE)
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(other.parents[1]))
        assert self.found(world) == str(begun)

    def test_what_is_kept_stays_with_the_first_and_nothing_is_mixed(
        self, world: World, other: Path
    ) -> None:
        world.map(U)
        transcript = world.transcript(idle=1)
        world.pin(transcript)
        (other / f"{U}.jsonl").write_text(ANOTHERS)  # by an earlier version
        world.pin(other / f"{U}.jsonl")
        world.keep_house()
        assert world.kept().samefile(transcript)
        assert (other / f"{U}.jsonl").read_text() == ANOTHERS
        assert transcript.read_text() == LINE

    def test_it_is_restored_into_the_config_directory_it_was_in(
        self, world: World, other: Path
    ) -> None:
        transcript = world.transcript(idle=400)
        restoring.update_pin(str(world.store), U, str(transcript))
        transcript.unlink()
        assert self.found(world) == str(transcript)


class TestATemporaryConfigDirectory:
    @pytest.fixture
    def temporary(self, world: World, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Its project of the working directory."""
        account = world.home / "tmp" / "of-an-sdk"
        monkeypatch.setenv("TMPDIR", str(world.home / "tmp"))
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(account))
        project = transcripts.this_project()
        assert project is not None
        world.project = world.projects / Path(project).name
        return Path(project)

    def test_what_begins_in_it_is_in_the_usual_one(self, world: World, temporary: Path) -> None:
        pinning.note_start(str(world.store), U)
        (temporary / f"{U}.jsonl").write_text(LINE)
        (temporary / U / "tool-results").mkdir()
        (temporary / U / "tool-results" / "x.txt").write_text("long")
        shutil.rmtree(temporary.parents[1])
        assert world.path().read_text() == LINE
        assert (world.project / U / "tool-results" / "x.txt").read_text() == "long"
        found = pinning.restore(str(world.store), U)
        assert found is not None
        assert found.path == str(world.path())
        assert (temporary / U).resolve() == (world.project / U)

    def test_what_was_put_into_it_goes_to_the_usual_one(
        self, world: World, temporary: Path
    ) -> None:
        temporary.mkdir(parents=True)
        transcript = temporary / f"{U}.jsonl"
        transcript.write_text(LINE)
        transcript.with_name(f"{U}.jsonl.new").symlink_to(world.path())  # of a killed call
        world.pin(transcript)
        with transcript.open("a") as file:
            file.write(NEXT)  # claude follows the link
        shutil.rmtree(temporary.parents[1])
        assert world.path().read_text() == LINE + NEXT
        assert world.kept().samefile(world.path())

    @pytest.mark.parametrize(
        ("there", "put", "then"),
        [
            (LINE + NEXT, LINE, LINE + NEXT),
            (LINE, LINE + NEXT, LINE + NEXT),
            (LINE, ANOTHERS, LINE),
        ],
    )
    def test_what_is_in_both_is_joined_if_it_is_one_conversation(
        self, world: World, temporary: Path, there: str, put: str, then: str
    ) -> None:
        temporary.mkdir(parents=True)
        world.project.mkdir()
        world.path().write_text(there)
        (temporary / f"{U}.jsonl").write_text(put)
        world.pin(temporary / f"{U}.jsonl")
        assert world.path().read_text() == then
        assert (temporary / f"{U}.jsonl").is_symlink() == (put != ANOTHERS)


class TestSidecars:
    @pytest.fixture
    def beside(self, world: World) -> Path:
        """What lies beside the transcript of a mapped conversation."""
        world.map(U)
        world.transcript()
        directory = world.project / U
        for name in ("tool-results/a.txt", "subagents/agent-1.jsonl", "new/of/claude"):
            self.write(directory / name)
        for path in (directory, *directory.rglob("*")):
            if path.is_dir():
                aged(path, 1)  # what happens to them now is later
        return directory

    @staticmethod
    def write(path: Path, text: str = "said") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    @staticmethod
    def files(directory: Path) -> list[str]:
        return sorted(str(p.relative_to(directory)) for p in directory.rglob("*") if p.is_file())

    def test_is_retained_by_housekeeping_and_restored_with_it(
        self, world: World, beside: Path
    ) -> None:
        world.keep_house()
        before = self.files(beside)
        aged(world.path(), 400)
        world.path().unlink()
        shutil.rmtree(beside)
        assert world.restore()
        assert self.files(beside) == before
        assert all(idle(beside / name) < 0.1 for name in before)

    def test_is_retained_by_a_call_and_restored_under_a_live_conversation(
        self, world: World, beside: Path
    ) -> None:
        world.pin(world.path())
        result = aged(beside / "tool-results" / "a.txt", 31)
        result.unlink()
        world.pin(world.path())
        assert result.read_text() == "said"
        assert idle(result) < 0.1
        shutil.rmtree(beside)
        world.pin(world.path())
        assert result.exists()

    def test_what_claude_appends_to_and_adds_is_retained(self, world: World, beside: Path) -> None:
        world.pin(world.path())
        with (beside / "subagents" / "agent-1.jsonl").open("a") as file:
            file.write(" more")
        self.write(beside / "tool-results" / "b.txt")
        world.pin(world.path())
        shutil.rmtree(beside)
        world.pin(world.path())
        assert (beside / "subagents" / "agent-1.jsonl").read_text() == "said more"
        assert (beside / "tool-results" / "b.txt").exists()

    def test_in_several_projects_each_is_restored_where_it_was(
        self, world: World, beside: Path
    ) -> None:
        result = world.projects / "-other" / U / "tool-results" / "c.txt"
        self.write(result)
        world.keep_house()
        shutil.rmtree(result.parents[1])
        world.keep_house()
        assert result.read_text() == "said"
        assert (beside / "tool-results" / "a.txt").exists()

    def test_without_hard_links_it_is_copied_as_it_grows(
        self, world: World, beside: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_links(monkeypatch)
        world.keep_house()
        self.write(beside / "tool-results" / "a.txt", "said more")
        world.keep_house()
        shutil.rmtree(beside)
        world.keep_house()
        assert (beside / "tool-results" / "a.txt").read_text() == "said more"

    def test_what_is_kept_of_it_stops_no_call_though_it_cannot_be_read(
        self, world: World, beside: Path
    ) -> None:
        world.pin(world.path())
        (note,) = (world.store / "kept" / U).glob("*.from")
        note.unlink()
        note.write_text("a file, as some tools restore links")
        assert world.pin(world.path())

    def test_goes_with_what_a_person_deleted(self, world: World, beside: Path) -> None:
        world.keep_house()
        aged(world.path(), 1)
        world.path().unlink()
        world.keep_house()
        assert os.listdir(world.store / "kept") == []
        assert beside.exists()

    def test_a_fork_gets_copies_of_the_subagents(self, world: World, beside: Path) -> None:
        given = world.path().with_name("fork")
        sidecars.copy_subagents(str(world.path()), f"{given}.jsonl")
        assert self.files(given) == ["subagents/agent-1.jsonl"]
        assert not (given / "subagents" / "agent-1.jsonl").samefile(
            beside / "subagents" / "agent-1.jsonl"
        )


class TestADamagedTranscript:
    METADATA = '{"type":"custom-title"}\n'

    @pytest.fixture
    def damaged(self, world: World) -> Path:
        world.map(U)
        transcript = world.transcript(text=LINE + NEXT)
        world.keep_house()
        transcript.write_text(self.METADATA)  # the kept link is damaged, too
        return transcript

    def test_without_a_message_is_replaced_by_its_copy(self, world: World, damaged: Path) -> None:
        world.keep_house()
        assert pinning.begin_restore(str(world.store), U)
        aside = Path(transcripts.set_aside(str(damaged)))
        assert world.restore()
        assert damaged.read_text() == LINE + NEXT
        assert aside.read_text() == self.METADATA
        assert world.kept().samefile(damaged)

    def test_that_is_gone_then_is_restored_from_its_copy(self, world: World, damaged: Path) -> None:
        aged(damaged, 40)
        damaged.unlink()
        assert world.restore()
        assert damaged.read_text() == LINE + NEXT

    def test_that_still_has_a_message_stays_and_so_does_the_copy(
        self, world: World, damaged: Path
    ) -> None:
        damaged.write_text(LINE)
        world.keep_house()
        assert not pinning.begin_restore(str(world.store), U)
        assert damaged.read_text() == LINE
        with gzip.open(f"{world.kept()}.gz", "rt") as copy:
            assert copy.read() == LINE + NEXT

    def test_the_copy_grows_with_the_transcript(self, world: World, damaged: Path) -> None:
        damaged.write_text(LINE + NEXT + NEXT)
        world.keep_house()
        with gzip.open(f"{world.kept()}.gz", "rt") as copy:
            assert copy.read() == LINE + NEXT + NEXT
        assert Path(f"{world.kept()}.gz").stat().st_mode & 0o777 == 0o600


class TestAStoreThatACallerFills:
    def rooms(self, world: World, count: int, unused: float, session_id: str = U) -> None:
        used = time.gmtime(time.time() - unused * DAY)
        rooms = {
            f"{session_id[:2]}{n}": {
                "claude": {
                    "uuid": session_id,
                    "last_used": time.strftime("%Y-%m-%dT%H:%M:%S", used) + f".{n:09d}Z",
                }
            }
            for n in range(count)
        }
        path = world.store / "sessions.json"
        rooms |= json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps(rooms, indent=2))

    def test_of_many_rooms_with_one_conversation_the_last_used_100_stay(self, world: World) -> None:
        world.transcript()
        self.rooms(world, 150, unused=31)
        world.keep_house()
        assert world.rooms == [f"6f{n}" for n in range(50, 150)]
        noted = [room for room, *_ in history.everything(str(world.store))]
        assert noted == [f"6f{n}" for n in range(50)]
        world.keep_house()
        assert len(world.rooms) == 100

    def test_those_used_lately_stay(self, world: World) -> None:
        world.transcript()
        self.rooms(world, 150, unused=29)
        world.keep_house()
        assert len(world.rooms) == 150

    def test_those_with_conversations_of_their_own_stay(self, world: World) -> None:
        for n in range(0x20, 0x90):
            session_id = f"{n:x}{U[2:]}"
            world.transcript(session_id)
            self.rooms(world, 1, unused=31, session_id=session_id)
        world.keep_house()
        assert len(world.rooms) == 0x70

    def test_those_in_the_place_of_another_conversation_stay(self, world: World) -> None:
        world.transcript()
        world.transcript(session_key.derive(session_key.stored_key("6f3", "claude")))
        self.rooms(world, 150, unused=31)
        world.keep_house()
        assert "6f3" in world.rooms
        assert len(world.rooms) == 101


class TestHousekeeping:
    def test_every_mapped_conversation_with_a_message_is_pinned(self, world: World) -> None:
        ids = [U.replace("6f", f"{n:02x}") for n in range(3)]
        for n, session_id in enumerate(ids):
            world.map(session_id, room=str(n))
        world.transcript(ids[0])
        world.transcript(ids[1], text='{"type":"queue-operation"}\n')
        world.keep_house()
        assert [world.kept(session_id).exists() for session_id in ids] == [True, False, False]

    def test_what_is_mapped_to_nothing_is_not_pinned(self, world: World) -> None:
        world.transcript()
        world.keep_house()
        assert not world.kept().exists()

    def test_a_transcript_that_another_file_took_the_place_of_is_pinned_anew(
        self, world: World
    ) -> None:
        world.map(U)
        transcript = world.transcript()
        world.keep_house()
        transcript.unlink()
        transcript.write_text(LINE + LINE)  # restored from a backup, and resumed
        world.keep_house()
        assert world.kept().samefile(transcript)

    def test_a_moved_project_is_where_it_will_be_restored(self, world: World) -> None:
        world.map(U)
        world.transcript()
        world.keep_house()
        world.project.rename(world.projects / "-moved")
        world.keep_house()
        assert restoring.origin(str(world.store), U) == str(
            world.projects / "-moved" / f"{U}.jsonl"
        )

    def test_of_several_transcripts_the_last_written_with_a_message_is_pinned(
        self, world: World
    ) -> None:
        world.map(U)
        older = world.transcript(idle=2)
        world.project = world.projects / "-other"
        world.project.mkdir()
        world.transcript(idle=1, text="{}\n")
        world.keep_house()
        assert world.kept().samefile(older)

    def test_a_deletion_by_a_person_is_honoured(self, world: World) -> None:
        world.map(U)
        transcript = world.transcript(idle=1)
        world.keep_house()
        transcript.unlink()
        world.keep_house()
        assert os.listdir(world.store / "kept") == []

    def test_what_claude_cleaned_up_stays_pinned(self, world: World) -> None:
        world.map(U, unused=400)
        transcript = world.transcript(idle=300)
        world.keep_house()
        transcript.unlink()
        world.keep_house()
        assert world.kept().read_text() == LINE
        assert world.rooms == ["r"]

    def test_what_a_killed_call_began_to_restore_is_restored(self, world: World) -> None:
        world.map(U)
        transcript = world.transcript(idle=1)
        world.keep_house()
        transcript.rename(f"{transcript}.putting-back")
        world.keep_house()
        assert transcript.samefile(world.kept())

    def test_a_conversation_idle_for_longer_than_the_days_is_dropped(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.map(U)
        transcript = world.transcript(idle=20)
        world.keep_house()
        monkeypatch.setenv("NSED_KEEP_DAYS", "19")
        world.keep_house()
        assert not world.kept().exists()
        assert transcript.exists()

    def test_for_no_days_every_pin_is_removed(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.map(U)
        world.transcript(idle=-1)
        world.keep_house()
        monkeypatch.setenv("NSED_KEEP_DAYS", "0")
        world.keep_house()
        assert os.listdir(world.store / "kept") == []

    def test_without_hard_links_what_changed_is_copied(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        no_links(monkeypatch)
        world.map(U)
        transcript = world.transcript()
        world.keep_house()
        first = world.kept().stat()
        world.keep_house()
        assert world.kept().stat().st_ino == first.st_ino
        transcript.write_text(LINE + LINE)
        world.keep_house()
        assert world.kept().read_text() == LINE + LINE
        assert not world.kept().samefile(transcript)

    def test_a_full_disk_costs_only_what_it_has_no_room_for(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.map(U)
        world.transcript()
        no_links(monkeypatch, errno.ENOSPC)
        world.keep_house()
        assert not world.kept().exists()
        assert world.rooms == ["r"]

    def test_a_mapping_long_unused_whose_conversation_is_gone_is_dropped(
        self, world: World
    ) -> None:
        world.map(U, room="gone", unused=91)
        world.map(U.replace("6f", "70"), room="lately used", unused=89)
        world.map(U.replace("6f", "71"), room="there", unused=91)
        world.transcript(U.replace("6f", "71"))
        world.keep_house()
        assert world.rooms == ["lately used", "there"]

    def test_a_mapping_stays_in_the_place_of_a_conversation_that_is_not_to_come_back(
        self, world: World
    ) -> None:
        derived = session_key.derive(session_key.stored_key("forgotten", "claude"))
        world.map(U, room="forgotten", unused=91)
        world.transcript(derived)
        world.keep_house()
        assert world.rooms == ["forgotten"]

    def test_an_earlier_head_is_forgotten_with_its_key_and_conversation(self, world: World) -> None:
        heads = {"mapped": U, "there": U.replace("6f", "71"), "gone": U.replace("6f", "72")}
        world.map(U.replace("6f", "70"), room="mapped")
        world.transcript(heads["there"])
        for room, session_id in heads.items():
            entry = {"uuid": session_id, "last_used": "2026-01-02T03:04:05.000000000Z"}
            history.remember(str(world.store), room, "claude", entry)
        world.keep_house()
        assert [room for room, *_ in history.everything(str(world.store))] == ["mapped", "there"]

    def test_leftovers_of_killed_calls_are_removed_after_a_day(self, world: World) -> None:
        world.map(U)
        world.transcript()
        world.keep_house()
        folder = world.store / "kept"
        for name in ("x.jsonl.new", "young.jsonl.new"):
            (folder / name).touch()
        aged(folder / "x.jsonl.new", 1.1)
        (world.store / "sessions.json.bak.0123.new").touch()
        aged(world.store / "sessions.json.bak.0123.new", 1.1)
        world.keep_house()
        kept = [f"{U}{ending}" for ending in (".from", ".jsonl", ".jsonl.gz", ".link")]
        assert sorted(os.listdir(folder)) == sorted([*kept, "young.jsonl.new"])
        assert not (world.store / "sessions.json.bak.0123.new").exists()

    @pytest.mark.parametrize("where", [".claude/projects", ".claude/projects/-other"])
    def test_projects_that_cannot_be_read_are_no_deletion(
        self, world: World, monkeypatch: pytest.MonkeyPatch, where: str
    ) -> None:
        elsewhere = U.replace("6f", "70")
        world.map(U)
        world.map(elsewhere, room="elsewhere", unused=91)
        world.transcript()
        listdir = os.listdir
        (world.projects / "-other").mkdir()

        def refuse(path: str) -> list[str]:
            if path == str(world.home / where):
                raise PermissionError(errno.EACCES, "no", path)
            return listdir(path)

        monkeypatch.setattr("os.listdir", refuse)
        world.keep_house()
        assert world.rooms == ["r", "elsewhere"]
        # What can be read is kept.
        assert world.kept().exists() == where.endswith("-other")

    def test_another_config_directory_that_shares_the_store_is_seen(self, world: World) -> None:
        other = world.home / "other" / "projects" / "-work"
        other.mkdir(parents=True)
        ids = [U, U.replace("6f", "70")]
        for number, session_id in enumerate(ids):
            (other / f"{session_id}.jsonl").write_text(LINE)
            world.map(session_id, room=str(number), unused=91)
        restoring.update_pin(str(world.store), U, str(other / f"{U}.jsonl"))
        world.keep_house()
        assert world.rooms == ["0", "1"]
        assert all(world.kept(session_id).exists() for session_id in ids)

    def test_a_clock_that_jumped_ahead_drops_nothing_for_its_age(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.map(U)
        transcript = world.transcript(idle=300)
        world.keep_house()
        transcript.unlink()
        now = time.time()
        monkeypatch.setattr("time.time", lambda: now + 400 * DAY)
        world.keep_house()
        assert world.kept().exists()

    def test_what_a_claude_is_live_on_counts_as_written_now(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        transcript = world.transcript(idle=40)
        monkeypatch.setattr("shim.claude.registry.conversations", lambda: {1: U})
        world.keep_house()
        assert idle(transcript) < 0.1

    def test_an_empty_store_is_no_trouble(self, world: World) -> None:
        world.keep_house()

    def test_killed_at_any_instant_it_loses_nothing(self, world: World) -> None:
        new, held, taken, deleted = ([f"{n:04x}{s}{U[5:]}" for n in range(12)] for s in "abcd")
        for session_id in (*new, *held, *taken, *deleted):
            world.map(session_id, room=session_id)
            world.transcript(session_id, idle=40 if session_id in taken else 1)
        for session_id in (*held, *taken):
            restoring.update_pin(str(world.store), session_id, str(world.path(session_id)))
        for session_id in (*taken, *deleted):
            world.path(session_id).unlink()

        def arrange() -> None:
            for session_id in new:
                world.kept(session_id).unlink(missing_ok=True)
            for session_id in deleted:
                world.transcript(session_id, idle=1)
                restoring.update_pin(str(world.store), session_id, str(world.path(session_id)))
                world.path(session_id).unlink()

        arrange()
        lasts = _seconds(world.keep_house)
        done = 0
        for n in range(200):
            arrange()
            _killed_after(lasts * n / 150, world.keep_house)
            assert [s for s in (*new, *held) if not world.path(s).exists()] == []
            assert [s for s in (*held, *taken) if not world.kept(s).exists()] == []
            done += not any(world.kept(s).exists() for s in deleted)
        assert 0 < done < 200
        world.keep_house()
        assert [s for s in (*new, *held) if not world.kept(s).samefile(world.path(s))] == []
        assert sorted(os.listdir(world.project)) == sorted(f"{s}.jsonl" for s in (*new, *held))


def _seconds(work: Callable[[], None]) -> float:
    started = time.monotonic()
    _killed_after(60, work)
    return time.monotonic() - started


def _killed_after(seconds: float, work: Callable[[], None]) -> None:
    """Do the work in a process of its own, killed after so many seconds unless it has ended."""
    child = os.fork()
    if not child:
        try:
            work()
        finally:
            os._exit(0)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitpid(child, os.WNOHANG)[0]:
            return
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_claudes_are_asked_again_for_their_options_each_day(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(spec_discovery, "ask_again", asked.append)
    world.keep_house()
    assert asked == [str(world.store)]
