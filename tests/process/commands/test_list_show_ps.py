"""`claude-shim list`, `show` and `ps`: the text that a person sees, and the JSON of programs."""

import errno
import json
import os
import posix
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pexpect
import pytest

from shim.base.messages import Failure
from shim.commands.claude_shim import group
from shim.forks import catching_up, fork_marker, writing
from shim.forks.fork_marker import Marker
from shim.locks import live_claudes
from tests.support.claude_shim import ask
from tests.support.recorder import PATIENCE, Run, World, read_line, wait_until
from tests.support.transcripts import Writer, history

CLAUDE_SHIM = Path(sys.executable).with_name("claude-shim")
NOW = datetime(2026, 7, 30, 12, tzinfo=timezone.utc).timestamp()
MINUTE, HOUR, DAY = 60, 3600, 86400
U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
V = "0c9b9d52-0d0a-5f0e-8a44-f2f1c4f6b0aa"
W = "e02e610b-76e2-53bd-9543-ea295dd26fc7"


class Home:
    """A home directory in which `claude-shim` is run, at noon on 30 July 2026 UTC."""

    def __init__(self, path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.path = path
        self.store = path / ".nsed"
        self._capsys = capsys
        self._mappings: dict[str, dict[str, Any]] = {}

    def map(self, room: str, agent: str, session_id: str, ago: float = 200) -> None:
        entry = {"uuid": session_id, "last_used": stamp(ago)}
        self._mappings.setdefault(room, {})[agent] = entry
        self.write(json.dumps(self._mappings, indent=2))

    def write(self, content: str) -> None:
        self.store.mkdir(mode=0o700, exist_ok=True)
        (self.store / "sessions.json").write_text(content)
        (self.store / "sessions.json").chmod(0o600)

    def transcript(
        self, session_id: str, *prompts: str, project: str = "~/app", ago: float = 200
    ) -> Path:
        directory = project.replace("~", str(self.path))
        name = re.sub("[^a-zA-Z0-9]", "-", directory)
        path = self.path / ".claude" / "projects" / name / f"{session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            {
                "type": "user",
                "message": {"role": "user", "content": prompt},
                "cwd": directory,
                "timestamp": stamp(ago + 100),
            }
            for prompt in prompts
        ]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        os.utime(path, (NOW - ago, NOW - ago))
        return path

    def run(self, *args: str) -> tuple[str, str]:
        """What a command that succeeds says on stdout, the home's path as HOME, and on stderr."""
        group.main(list(args), prog_name="claude-shim", standalone_mode=False)
        said = self._capsys.readouterr()
        return said.out.replace(str(self.path), "HOME"), said.err.replace(str(self.path), "HOME")

    def findings(self) -> Any:
        """What doctor finds, where something needs a fix."""
        with pytest.raises(SystemExit):
            self.run("doctor", "--json")
        return json.loads(self._capsys.readouterr().out)

    def json(self, *args: str) -> Any:
        out, err = self.run(*args, "--json")
        assert err == ""
        return json.loads(out)


def stamp(ago: float) -> str:
    return datetime.fromtimestamp(NOW - ago, timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.000000000Z")


@pytest.fixture
def home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Home]:
    for name in [name for name in posix.environ if name.startswith((b"NSED_", b"CLAUDE_"))]:
        monkeypatch.delitem(posix.environ, name)
    monkeypatch.setitem(posix.environ, b"HOME", os.fsencode(tmp_path))
    for name in ("list", "show", "ps"):
        clock = SimpleNamespace(time=lambda: NOW, sleep=time.sleep)
        monkeypatch.setattr(import_module(f"shim.commands.{name}"), "time", clock)
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        time.tzset()
        yield Home(tmp_path, capsys)
    time.tzset()


def refuse(transcript: Path, error: str) -> None:
    """Have the last two turns of a conversation end in an API error."""
    writer = Writer(transcript)
    for prompt in ("one", "two"):
        asked = writer.ask(prompt)
        block = {"type": "text", "text": error}
        writer.write(writer.assistant(asked, "stop_sequence", block, isApiErrorMessage=True))


def lines(text: str) -> list[str]:
    return text.splitlines()


def failure(home: Home, *args: str) -> Run:
    """A command that fails, run as a user does."""
    done = subprocess.run(
        [CLAUDE_SHIM, *args],
        env={"HOME": str(home.path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
        capture_output=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    assert done.stdout == b""
    return Run(done)


class TestList:
    def test_an_empty_home_says_what_to_do_next(self, home: Home) -> None:
        assert home.run("list") == (
            "",
            "No room has a conversation yet. After `claude-shim install`, this starts one:\n"
            "  NSED_ROOM_ID=refactor claude\n",
        )
        assert home.json("list") == []
        assert not home.store.exists()

    def test_those_used_since_a_time_are_listed(self, home: Home) -> None:
        home.map("old", "claude", U, ago=20 * DAY)
        home.map("new", "claude", V, ago=3 * DAY)
        since = datetime.fromtimestamp(NOW - 14 * DAY, timezone.utc).strftime("%Y-%m-%d")
        assert [it["room"] for it in home.json("list", "--since", since)] == ["new"]

    def test_each_mapping_is_a_line_the_last_used_first(self, home: Home) -> None:
        home.map("refactor", "claude", U, ago=3 * MINUTE)
        home.map("refactor", "planner", V, ago=5 * HOUR)
        home.map("docs", "claude", W, ago=70 * DAY)
        home.transcript(U, "hello", "go on", project="~/src/app")
        home.transcript(W, *(["x" * 100] * 12), project="/srv/docs")
        out, err = home.run("list", "--empty")
        assert [line.split("\t") for line in lines(out)] == [
            ["ROOM", "AGENT", "ID", "USED", "LIVE", "TURNS", "SIZE", "PROJECT", "ABOUT"],
            ["refactor", "claude", U, "3 min ago", "-", "2", size(home, U), "~/src/app", "hello"],
            ["refactor", "planner", V, "5 h ago", "-", "-", "-", "no transcript", "-"],
            [
                *("docs", "claude", W, "2 months ago", "-", "12", size(home, W), "/srv/docs"),
                "x" * 59 + "…",
            ],
        ]
        assert err == ""

    def test_a_room_whose_only_call_failed_at_once_leaves_no_row(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        home.map("failed", "claude", V)
        home.transcript(U, "hello")
        out, err = home.run("list")
        assert [line.split("\t")[0] for line in lines(out)] == ["ROOM", "refactor"]
        assert err == "1 without a conversation are hidden: --empty shows them.\n"
        assert home.run("list", "--room", "failed") == ("", err)
        assert len(home.json("list")) == 2

    @pytest.mark.parametrize(
        ("titles", "about"),
        [
            ([("ai-title", "aiTitle", "Parsers")], "Parsers"),
            ([("ai-title", "aiTitle", "Old"), ("ai-title", "aiTitle", "New")], "New"),
            ([("custom-title", "customTitle", "Mine"), ("ai-title", "aiTitle", "No")], "Mine"),
            ([("ai-title", "aiTitle", "a\tb\x1b")], r"a\tb\x1b"),
            ([("ai-title", "aiTitle", 5)], "hello"),
        ],
    )
    def test_what_it_is_about_is_its_title_else_its_first_words(
        self, home: Home, titles: list[tuple[str, str, object]], about: str
    ) -> None:
        home.map("refactor", "claude", U)
        with home.transcript(U, "hello").open("a") as more:
            for kind, field, title in titles:
                more.write(json.dumps({"type": kind, field: title, "sessionId": U}) + "\n")
        assert lines(home.run("list")[0])[1].split("\t")[-1] == about

    def test_names_hide_nothing_and_stay_in_their_column(self, home: Home) -> None:
        for room in ("👩‍👩‍👧", "日本", "two\nlines", "", "\u202egnp.exe", "end "):
            home.map(room, "réviseur", U)
        out, _ = home.run("list", "--sort", "room", "--empty")
        assert [line.split("\t")[0] for line in lines(out)[1:]] == [
            '""',
            '"end "',
            r"two\nlines",
            r"\u202egnp.exe",
            "日本",
            "👩‍👩‍👧",
        ]

    @pytest.mark.parametrize("session_id", ["", "x" * 10_000, "../../etc", "a\n", "\ud83d"])
    def test_an_id_that_is_none_has_no_transcript(self, home: Home, session_id: str) -> None:
        home.map("refactor", "claude", session_id)
        (each,) = home.json("list")
        assert (each["session_id"], each["transcript"]) == (session_id, None)
        assert lines(home.run("list", "--empty")[0])[1].endswith("no transcript\t-")

    def test_a_fork_is_shown_with_the_turns_that_the_next_call_appends(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        head = Writer(home.path / ".claude/projects/-app" / f"{U}.jsonl")
        head.say("one")
        fork = writing.write(str(home.store), str(head.path), V, "a bot")
        assert fork is not None
        Writer(Path(fork)).say("two")
        (line,) = [it for it in lines(home.run("show", "refactor")[0]) if it.startswith("Forks")]
        assert line.startswith(f"Forks       {V}, 2 turns, written ")
        assert line.endswith("1 turn to append")
        shown = {"session_id": V, "transcript": fork.replace(str(home.path), "HOME")}
        assert home.json("show", "refactor")[0]["forks"] == [{**shown, "turns": 2, "lacking": 1}]
        assert catching_up.catch_up(str(home.store), U)
        assert any("all turns appended" in it for it in lines(home.run("show", "refactor")[0]))

    def test_a_fork_that_is_linked_has_the_former_conversation_as_a_fork(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        head = Writer(home.path / ".claude/projects/-app" / f"{U}.jsonl")
        head.say("one")
        fork = writing.write(str(home.store), str(head.path), V, "a bot")
        assert fork is not None
        Writer(Path(fork)).say("two")
        head.say("three")
        home.run("link", "refactor", "claude", V)
        (shown,) = home.json("show", "refactor")
        assert (shown["session_id"], [it["session_id"] for it in shown["forks"]]) == (V, [U])
        catching_up.catch_up(str(home.store), V)
        assert history(Path(fork)) == ["one", "two", "three"]

    def test_json_has_everything(self, home: Home) -> None:
        home.map("refactor", "claude", U, ago=3 * MINUTE)
        home.map("\ud83d half", "claude", V)
        path = home.transcript(U, "hello")
        first, second = home.json("list", "--sort", "room")
        assert first == {
            "room": "refactor",
            "agent": "claude",
            "session_id": U,
            "last_used": "2026-07-30T11:57:00Z",
            "live": False,
            "claudes": [],
            "transcript": str(path).replace(str(home.path), "HOME"),
            "turns": 1,
            "turns_are_exact": True,
            "size": path.stat().st_size,
            "project": "HOME/app",
            "account": None,
            "about": "hello",
            "api_error": None,
        }
        assert second["room"] == "\ud83d half"
        assert {second[name] for name in ("transcript", "turns", "size", "project")} == {None}

    @pytest.mark.parametrize(
        ("args", "rooms"),
        [
            ([], "abcd"),
            (["--reverse"], "dcba"),
            (["--sort", "room"], "abcd"),
            (["--sort", "agent"], "bacd"),
            (["--sort", "size"], "cabd"),
            (["--sort", "size", "--reverse"], "dbac"),
            (["--room", "c"], "c"),
            (["--agent", "y"], "acd"),
            (["--agent", "y", "--room", "b"], ""),
            (["--stale", "2h"], "cd"),
            (["--stale", "30d"], ""),
            (["--limit", "2"], "ab"),
            (["--limit", "2", "--page", "2"], "cd"),
            (["--limit", "3", "--page", "2"], "d"),
            (["--limit", "2", "--all"], "abcd"),
            (["--live"], ""),
        ],
    )
    def test_it_shows_what_is_asked_for_in_the_order_asked_for(
        self, home: Home, args: list[str], rooms: str
    ) -> None:
        for number, (room, agent) in enumerate(["ay", "bx", "cy", "dy"]):
            session_id = U[:-1] + room
            home.map(room, agent, session_id, ago=number * HOUR + 1)
            if room != "d":
                home.transcript(session_id, "hello" * (9 if room == "c" else 1 + (room == "a")))
        assert [mapping["room"] for mapping in home.json("list", *args)] == list(rooms)

    def test_a_large_store_is_shown_in_pages(self, home: Home) -> None:
        entry = {"uuid": U, "last_used": stamp(DAY)}
        rooms = {f"room {number}": {"claude": entry} for number in range(100_000)}
        home.write(json.dumps(rooms))
        out, err = home.run("list", "--empty")
        assert len(lines(out)) == 51
        assert err == "1 to 50 of 100,000. More: --page 2, or --all.\n"
        out, err = home.run("list", "--page", "2000", "--empty")
        assert lines(out)[-1].startswith("room 99999\tclaude")
        assert err == ""
        assert home.run("list", "--page", "2001", "--empty") == (
            "",
            "There are only 100,000: --page 1 shows the first.\n",
        )

    @pytest.mark.parametrize(
        ("args", "hint"),
        [
            (["--live"], "No claude is live for a room or agent."),
            (["--stale", "9d"], "Nothing matches."),
            (
                ["--room", "refactr"],
                "Nothing matches: there is no room 'refactr': did you mean 'refactor'?",
            ),
            (["--agent", "x"], "Nothing matches: there is no agent 'x'"),
        ],
    )
    def test_where_nothing_is_like_that_it_says_so(
        self, home: Home, args: list[str], hint: str
    ) -> None:
        home.map("refactor", "claude", U)
        assert home.run("list", *args) == ("", hint + "\n")

    def test_a_broken_store_is_recovered_and_shown(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        path = home.store / "sessions.json"
        (home.store / "sessions.json.bak").write_text(path.read_text())
        path.write_text(path.read_text()[:-20])
        out, err = home.run("list", "--empty")
        assert lines(out)[1].startswith(f"refactor\tclaude\t{U}\t3 min ago")
        assert err.startswith("claude-shim: HOME/.nsed/sessions.json is damaged: ")
        assert len(lines(err)) == 1

    def test_what_was_written_since_the_backup_counts_as_used(self, home: Home) -> None:
        home.map("refactor", "claude", U, ago=60 * DAY)
        path = home.store / "sessions.json"
        (home.store / "sessions.json.bak").write_text(path.read_text())
        path.write_text("{ not")
        home.transcript(U, "hello", ago=5 * MINUTE)
        assert "5 min ago" in lines(home.run("list")[0])[1]

    def test_a_store_that_can_only_be_read_is_shown(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.map("refactor", "claude", U)
        home.run("list")
        really_open = posix.open

        def read_only(path: str, flags: int, *rest: Any) -> int:
            if flags & (os.O_RDWR | os.O_WRONLY | os.O_CREAT):
                raise OSError(errno.EROFS, os.strerror(errno.EROFS), path)
            return really_open(path, flags, *rest)

        monkeypatch.setattr(posix, "open", read_only)
        monkeypatch.setattr(os, "open", read_only)
        out, err = home.run("list", "--empty")
        assert lines(out)[1].startswith(f"refactor\tclaude\t{U}\t3 min ago")
        assert err == ""

    def test_anothers_store_is_a_line_that_says_what_to_do(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.map("refactor", "claude", U)
        monkeypatch.setattr(posix, "geteuid", lambda: os.getuid() + 1)
        with pytest.raises(Failure, match="belongs to another user: set NSED_SESSION_DIR"):
            home.run("list")

    def test_a_filesystem_without_locks_is_one_line_and_the_rest_is_shown(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        home.map("refactor", "claude", U)
        (home.store / "leases").write_text("")
        monkeypatch.setattr("shim.locks.record_lock.fcntl.fcntl", fail)
        out, err = home.run("list", "--empty")
        assert len(lines(out)) == 2
        assert err == (
            "claude-shim: cannot read the locks in HOME/.nsed, so who is live is unknown:"
            " No locks available\n"
        )

    def test_wrong_use_is_one_line(self, home: Home) -> None:
        done = subprocess.run([CLAUDE_SHIM, "list", "--stale", "soon"], capture_output=True)
        assert done.returncode == 2
        assert Run(done).warning.endswith("`claude-shim list --help` helps.")


def size(home: Home, session_id: str) -> str:
    (path,) = home.path.glob(f".claude/projects/*/{session_id}.jsonl")
    count = path.stat().st_size
    return f"{count} B" if count < 1000 else f"{count / 1000:.1f} kB"


class TestShow:
    def test_a_mapping_is_shown_in_full(self, home: Home) -> None:
        home.map("refactor", "claude", U, ago=3 * MINUTE)
        (home.path / "my app").mkdir()
        path = home.transcript(U, "hello\n\x1b[31mred", "go on", project="~/my app", ago=4 * MINUTE)
        home.transcript(V, "before", "the plan: postgres", project="~/my app")
        heads = [
            {"room": "refactor", "agent": "claude", "uuid": W, "last_used": stamp(3 * DAY)},
            {"room": "another", "agent": "claude", "uuid": U, "last_used": stamp(3 * DAY)},
            {"room": "refactor", "agent": "claude", "uuid": V, "last_used": stamp(2 * HOUR)},
        ]
        (home.store / "history.jsonl").write_text("".join(json.dumps(h) + "\n" for h in heads))
        out, err = home.run("show", "refactor")
        where = str(path).replace(str(home.path), "HOME")
        assert lines(out) == [
            "Room        refactor",
            "Agent       claude",
            f"Id          {U}",
            "Last used   3 min ago (2026-07-30 11:57:00)",
            "Live        no",
            f"Transcript  {where}",
            "Project     ~/my app",
            "Started     5 min ago (2026-07-30 11:54:20)",
            "Written     4 min ago (2026-07-30 11:56:00)",
            "Turns       2",
            f"Size        {path.stat().st_size} B",
            r"First       hello\n\x1b[31mred",
            "Last        go on",
            f"Earlier     {V}, 2 turns, until 2 h ago (2026-07-30 10:00:00)",
            "              first  before",
            "              last   the plan: postgres",
            f"            {W}, no transcript, until 3 days ago (2026-07-27 12:00:00)",
            f"Resume      cd 'HOME/my app' && NSED_SHIM_DISABLE=1 claude --resume {U}",
        ]
        assert err == ""

    def test_json_has_everything(self, home: Home) -> None:
        home.map("refactor", "claude", U, ago=3 * MINUTE)
        path = home.transcript(U, "hello", "go on", project="~/gone", ago=4 * MINUTE)
        where = str(path).replace(str(home.path), "HOME")
        head = {"room": "refactor", "agent": "claude", "uuid": V, "last_used": stamp(DAY)}
        (home.store / "history.jsonl").write_text(json.dumps(head) + "\n")
        assert home.json("show", "refactor", "claude") == home.json("show", "refactor")
        assert home.json("show", "refactor", "claude")[0] == {
            "room": "refactor",
            "agent": "claude",
            "session_id": U,
            "last_used": "2026-07-30T11:57:00Z",
            "live": False,
            "claudes": [],
            "transcript": where,
            "turns": 2,
            "turns_are_exact": True,
            "size": path.stat().st_size,
            "project": "HOME/gone",
            "account": None,
            "about": "hello",
            "api_error": None,
            "started": "2026-07-30T11:54:20Z",
            "written": "2026-07-30T11:56:00Z",
            "first_prompt": "hello",
            "last_prompt": "go on",
            "forks": [],
            "earlier": [
                {
                    "session_id": V,
                    "last_used": "2026-07-29T12:00:00Z",
                    "transcript": None,
                    "turns": None,
                    "first_prompt": None,
                    "last_prompt": None,
                }
            ],
            # Its project is gone: the path resumes it from anywhere.
            "resume": f"NSED_SHIM_DISABLE=1 claude --resume {where}",
        }

    def test_without_a_transcript_it_says_what_the_next_call_does(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        assert lines(home.run("show", "refactor")[0])[4:] == [
            "Live        no",
            "Transcript  none: the next call starts a new one",
        ]
        assert home.json("show", "refactor")[0]["resume"] is None

    def test_one_that_claude_has_cleaned_up_is_shown_from_what_is_kept(self, home: Home) -> None:
        idle = NOW - time.time() + 50 * DAY  # by the real clock
        home.map("refactor", "claude", U, ago=idle)
        path = home.transcript(U, "hello", project="~", ago=idle)
        (home.store / "kept").mkdir()
        (home.store / "kept" / f"{U}.from").symlink_to(path)
        path.rename(home.store / "kept" / path.name)
        shown = lines(home.run("show", "refactor")[0])
        assert f"Transcript  HOME/.nsed/kept/{U}.jsonl" in shown
        assert shown[-2:] == [
            "Kept        claude's clean-up deleted it; the next call restores it",
            f"Resume      cd HOME && NSED_SHIM_DISABLE=1 claude --resume HOME/.nsed/kept/{U}.jsonl",
        ]
        assert home.json("list")[0]["turns"] == 1

    def test_what_it_has_is_no_earlier_one(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        head = {"room": "refactor", "agent": "claude", "uuid": U, "last_used": stamp(200)}
        (home.store / "history.jsonl").write_text(json.dumps(head) + "\n")
        assert "Earlier" not in home.run("show", "refactor")[0]

    def test_without_a_room_it_is_that_of_the_environment(
        self, home: Home, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        home.map("refactor", "planner", U)
        monkeypatch.setitem(posix.environ, b"NSED_ROOM_ID", b"refactor")
        monkeypatch.setitem(posix.environ, b"NSED_AGENT_NAME", b"planner")
        assert lines(home.run("show")[0])[:2] == ["Room        refactor", "Agent       planner"]

    def test_without_a_room_anywhere_it_is_a_wrong_use(self, home: Home) -> None:
        done = subprocess.run(
            [CLAUDE_SHIM, "show"], env={"HOME": str(home.path)}, capture_output=True
        )
        assert done.returncode == 2
        assert "The environment names no room and no agent: give a ROOM." in Run(done).warning

    def test_a_long_prompt_is_cut(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        home.transcript(U, "日本" * 1000)
        first = next(line for line in lines(home.run("show", "refactor")[0]) if "First" in line)
        assert first == "First       " + "日本" * 49 + "日…"

    @pytest.mark.parametrize(
        ("agents", "shown", "others"),
        [
            (["planner"], ["planner"], ""),
            (["planner", "claude", "x\n"], ["claude"], r"planner, x\n"),
            (["planner", "coder"], ["planner", "coder"], ""),
        ],
    )
    def test_without_an_agent_it_is_the_only_one_else_claude_else_all(
        self, home: Home, agents: list[str], shown: list[str], others: str
    ) -> None:
        for agent in agents:
            home.map("refactor", agent, U)
        home.map("docs", "reviewer", V)
        out, err = home.run("show", "refactor")
        assert re.findall("^Agent       (.*)$", out, re.MULTILINE) == shown
        assert err == (f"Other agents of this room: {others}\n" if others else "")
        assert [
            each["agent"] for each in json.loads(home.run("show", "refactor", "--json")[0])
        ] == (shown)

    @pytest.mark.parametrize("room", ["", "two\nlines", "👩‍👩‍👧", "--json", "-"])
    def test_a_room_of_any_name_can_be_shown(self, home: Home, room: str) -> None:
        home.map(room, "reviewer", U)
        out, _ = home.run("show", "--", room, "reviewer")
        assert lines(out)[2] == f"Id          {U}"

    @pytest.mark.parametrize(
        ("args", "message"),
        [
            (["refacto"], "there is no room 'refacto': did you mean 'refactor'?"),
            (["x"], "there is no room 'x': see `claude-shim list`"),
            (["refactor", "x"], "room 'refactor' has no agent 'x', only 'claude', 'réviseur'"),
        ],
    )
    def test_who_is_not_there_is_one_line_with_who_is(
        self, home: Home, args: list[str], message: str
    ) -> None:
        home.map("refactor", "claude", U)
        home.map("refactor", "réviseur", V)
        assert failure(home, "show", *args).warning == f"claude-shim: {message}"

    def test_an_empty_home_is_one_line_with_what_to_do_next(self, home: Home) -> None:
        assert failure(home, "show", "refactor").warning == (
            "claude-shim: no room has a conversation yet: NSED_ROOM_ID=refactor claude starts one"
        )


class TestTerminals:
    """What needs a terminal: colours, and lines that fit."""

    def on_terminal(self, home: Home, columns: int, *args: str, **env: str) -> list[str]:
        terminal = pexpect.spawn(
            str(CLAUDE_SHIM),
            list(args),
            env={"HOME": str(home.path), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8", **env},
            dimensions=(40, columns),
            encoding="utf-8",
            timeout=PATIENCE,
        )
        said = terminal.read()
        terminal.close()
        assert terminal.exitstatus == 0
        return lines(said)

    def test_colours_are_for_terminals_alone(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        home.transcript(U, "hello")
        assert "\x1b" not in home.run("list")[0]
        assert any("\x1b" in line for line in self.on_terminal(home, 120, "list"))
        assert not any("\x1b" in line for line in self.on_terminal(home, 120, "list", NO_COLOR="1"))

    @pytest.mark.parametrize(
        ("env", "coloured"),
        [
            ({"FORCE_COLOR": "1"}, True),
            ({"CLICOLOR_FORCE": "1"}, True),
            ({"FORCE_COLOR": "0"}, False),
            ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ],
    )
    def test_colours_in_a_pipe_are_for_who_wants_them(
        self, home: Home, env: dict[str, str], coloured: bool
    ) -> None:
        home.map("refactor", "claude", U)
        environ = {"HOME": str(home.path), "PATH": "/usr/bin:/bin", **env}
        done = subprocess.run([CLAUDE_SHIM, "show", "refactor"], env=environ, capture_output=True)
        assert (b"\x1b" in done.stdout) == coloured

    @pytest.mark.parametrize(
        ("columns", "titles"),
        [
            (150, "ROOM AGENT ID USED LIVE TURNS SIZE PROJECT ABOUT"),
            (110, "ROOM AGENT ID USED LIVE TURNS SIZE PROJECT ABOUT"),
            (80, "ROOM AGENT ID USED LIVE TURNS ABOUT"),
            (60, "ROOM AGENT LIVE ABOUT"),
            (40, "ROOM ABOUT"),
            (10, "ROOM"),
        ],
    )
    def test_columns_are_cut_and_then_leave(self, home: Home, columns: int, titles: str) -> None:
        home.map("refactor-the-parser", "claude", U, ago=NOW - time.time() + 200)
        home.transcript(U, "rewrite all of it in Rust", project="~/src/parser/of/rust")
        said = self.on_terminal(home, columns, "list", NO_COLOR="1")
        assert said[0].split() == titles.split()
        assert max(map(len, said)) <= columns
        assert (U in said[1]) == (columns == 150)

    def test_an_earlier_conversation_has_its_date_where_there_is_space(self, home: Home) -> None:
        home.map("refactor", "claude", U)
        head = {"room": "refactor", "agent": "claude", "uuid": V, "last_used": stamp(DAY)}
        (home.store / "history.jsonl").write_text(json.dumps(head) + "\n")
        for columns, has_date in ((120, True), (80, False)):
            said = self.on_terminal(home, columns, "show", "refactor", NO_COLOR="1")
            (line,) = [line for line in said if V in line]
            assert line.endswith(")") == has_date

    @pytest.mark.parametrize("command", [["prune", "-n"], ["import", "-n", "--from-projects"]])
    def test_no_table_is_wider_than_the_terminal(self, home: Home, command: list[str]) -> None:
        home.map("a-room-with-a-long-name" * 5, "an-agent-of-a-long-name" * 5, V, ago=9000 * DAY)
        home.transcript(U, "hello", project="~/" + "deep/" * 30)
        for columns in (80, 40, 20):
            said = self.on_terminal(home, columns, *command, NO_COLOR="1")
            start = next(at for at, line in enumerate(said) if line.startswith("ROOM"))
            assert max(map(len, said[start:-1])) <= columns


class TestRunning:
    @pytest.fixture(autouse=True)
    def with_a_claude_that_lives(self, world: World) -> None:
        world.claude.then("echo started; read -r line")
        world.environment["LC_ALL"] = "C.UTF-8"

    def start(self, world: World, *args: str, **names: str) -> "subprocess.Popen[bytes]":
        """Start a claude that lives until its stdin is closed."""
        return world.start(*args, env=names, stdin=subprocess.PIPE)

    def started(self, world: World, *args: str, **names: str) -> "subprocess.Popen[bytes]":
        process = self.start(world, *args, **names)
        assert process.stdout is not None
        assert read_line(process.stdout) == b"started\n"
        return process

    def run(self, world: World, *args: str) -> list[list[str]]:
        """The cells of the lines that a command prints."""
        done = ask(world, *args)
        assert (done.exit_code, done.lines) == (0, [])
        return [line.split("\t") for line in done.stdout.decode().splitlines()]

    def test_nothing_runs(self, world: World) -> None:
        done = ask(world, "ps")
        assert (done.exit_code, done.stdout) == (0, b"")
        assert done.lines == ["No claude runs for a room or agent."]
        assert ask(world, "ps", "--json").stdout == b"[]\n"

    def test_each_claude_that_runs_is_a_line_with_who_waits_for_it(self, world: World) -> None:
        one_shot = self.started(world, "-p", NSED_ROOM_ID="one")
        streaming = self.started(
            world, "--input-format", "stream-json", NSED_ROOM_ID="日本", NSED_AGENT_NAME="planner"
        )
        interactive, terminal = self.on_terminal(world, NSED_ROOM_ID="term")
        line: list[subprocess.Popen[bytes]] = []
        for _ in range(2):
            line.append(self.start(world, "-p", NSED_ROOM_ID="one"))
            wait_until(lambda: waiting(world, "one") == [process.pid for process in line])

        where = str(world.directory).replace(str(world.home), "~")
        assert [anonymous(cells) for cells in self.run(world, "ps")] == [
            ["ROOM", "AGENT", "PID", "KIND", "SINCE", "MEMORY", "WAITING", "DIRECTORY"],
            [
                *("one", "claude", str(one_shot.pid), "one-shot", "AGO", "MEMORY"),
                *(f"{line[0].pid} {line[1].pid}", where),
            ],
            ["term", "claude", str(interactive.pid), "interactive", "AGO", "MEMORY", "-", where],
            ["日本", "planner", str(streaming.pid), "streaming", "AGO", "MEMORY", "-", where],
        ]
        live = {cells[0]: cells[4] for cells in self.run(world, "list")[1:]}
        assert live == {"one": "one-shot", "term": "interactive", "日本": "streaming"}
        shown = ask(world, "show", "one").stdout.decode().splitlines()
        assert shown[4].startswith(f"Live        one-shot, claude {one_shot.pid}, for ")
        assert shown[5] == f"Waiting     {line[0].pid}, {line[1].pid}"
        assert shown[6] == "Transcript  none: claude has not written it yet"

        for process in (one_shot, *line, streaming, interactive):
            process.communicate(b"\n", PATIENCE)
        os.close(terminal)
        assert ask(world, "ps").stdout == b""

    def on_terminal(self, world: World, **names: str) -> tuple["subprocess.Popen[bytes]", int]:
        ours, theirs = pty.openpty()
        process = world.start(env=names, stdin=subprocess.PIPE, stdout=theirs)
        os.close(theirs)
        assert os.read(ours, 100).startswith(b"started")
        return process, ours

    def test_json_has_everything(self, world: World) -> None:
        claude = self.started(world, "-p", NSED_ROOM_ID="r")
        (session_id,) = world.mappings["r"].values()
        (running,) = json.loads(ask(world, "ps", "--json").stdout)
        since = datetime.fromisoformat(running.pop("since").replace("Z", "+00:00"))
        assert abs(since.timestamp() - time.time()) < PATIENCE
        assert running.pop("memory") > 100_000
        assert running == {
            "room": "r",
            "agent": "claude",
            "session_id": session_id,
            "pid": claude.pid,
            "kind": "one-shot",
            "stranger": False,
            "forked_from": None,
            "directory": str(world.directory),
            "waiting": [],
        }
        claude.communicate(b"\n", PATIENCE)

    def test_a_claude_on_the_conversation_without_its_lock_is_unmanaged(self, world: World) -> None:
        world.map("r", "claude", U)
        unmanaged = self.started(world, "--input-format", "stream-json", "--resume", U)
        sessions = world.home / ".claude" / "sessions"
        sessions.mkdir(parents=True)
        start = Path(f"/proc/{unmanaged.pid}/stat").read_text().rpartition(")")[2].split()[19]
        entry = {"pid": unmanaged.pid, "sessionId": U, "procStart": start}
        (sessions / f"{unmanaged.pid}.json").write_text(json.dumps(entry))
        _, cells = self.run(world, "ps")
        assert cells[:4] == ["r", "claude", str(unmanaged.pid), "streaming, unmanaged"]
        _, cells = self.run(world, "list", "--live")
        assert cells[4] == "streaming, unmanaged"
        unmanaged.communicate(b"\n", PATIENCE)

    def test_a_fork_is_listed_with_its_room(self, world: World) -> None:
        holder = self.started(world, "--input-format", "stream-json", NSED_ROOM_ID="r")
        fork_marker.begin(str(world.store.parent), Marker(V, U))
        args = ("--resume", V, "--input-format", "stream-json")
        fork = self.started(
            world, *args, NSED_ROOM_ID="r", NSED_AGENT_NAME="claude", NSED_SHIM_DISABLE="1"
        )
        sessions = world.home / ".claude" / "sessions"
        sessions.mkdir(parents=True)
        start = Path(f"/proc/{fork.pid}/stat").read_text().rpartition(")")[2].split()[19]
        entry = {"pid": fork.pid, "sessionId": V, "procStart": start}
        (sessions / f"{fork.pid}.json").write_text(json.dumps(entry))
        rows = [cells[:4] for cells in self.run(world, "ps")[1:]]
        assert rows == [
            ["r", "claude", str(holder.pid), "streaming"],
            ["r", "claude", str(fork.pid), "streaming, fork"],
        ]
        *_, printed = json.loads(ask(world, "ps", "--json").stdout)
        assert (printed["session_id"], printed["forked_from"]) == (V, U)
        for process in (holder, fork):
            process.communicate(b"\n", PATIENCE)

    def test_one_that_was_forgotten_while_it_runs_is_shown_by_the_names_it_has(
        self, world: World
    ) -> None:
        claude = self.started(world, "-p", NSED_ROOM_ID="two\nlines")
        world.store.write_text("{}")
        world.store.with_name("sessions.json.bak").unlink()
        _, cells = self.run(world, "ps")
        assert cells[:4] == [r"two\nlines", "claude", str(claude.pid), "one-shot"]
        claude.communicate(b"\n", PATIENCE)

    def test_watching_shows_it_again_and_again_until_an_interrupt(self, world: World) -> None:
        claude = self.started(world, "-p", NSED_ROOM_ID="r")
        watching = world.start("ps", "--watch", "0.1", program=CLAUDE_SHIM)
        assert watching.stdout is not None
        for _ in range(3):
            assert read_line(watching.stdout).startswith(b"ROOM")
            assert read_line(watching.stdout).startswith(b"r\t")
        watching.send_signal(signal.SIGINT)
        _, stderr = watching.communicate(timeout=PATIENCE)
        assert (watching.returncode, stderr) == (0, b"")
        claude.communicate(b"\n", PATIENCE)

    def test_watching_takes_two_seconds_by_default(self, world: World) -> None:
        watching = world.start("ps", "--watch", "--json", program=CLAUDE_SHIM)
        assert watching.stdout is not None
        assert read_line(watching.stdout) == b"[]\n"
        first = time.monotonic()
        assert read_line(watching.stdout) == b"[]\n"
        assert time.monotonic() - first > 1.5
        watching.send_signal(signal.SIGINT)
        assert watching.communicate(timeout=PATIENCE) == (b"", b"")


def waiting(world: World, room: str) -> list[int]:
    holder = live_claudes.held_locks(str(world.store.parent)).for_key(room, "claude")
    return list(holder.waiting) if holder else []


def anonymous(cells: list[str]) -> list[str]:
    """The cells without what differs from run to run."""
    changes = ((r"\d+ (s|min) ago", "AGO"), (r"[\d.]+ [kM]B", "MEMORY"))
    for pattern, name in changes:
        cells = [re.sub(f"^{pattern}$", name, cell) for cell in cells]
    return cells


# Conversations that the API refuses

TOO_LONG = "API Error: 400 prompt is too long"
REFUSED = f"the API refuses the conversation of room 'stuck', agent 'claude': {TOO_LONG}"
WAYS_OUT = (
    "run `claude-shim open stuck claude` and enter /compact; or resume the conversation before it:"
    f" `claude-shim link stuck claude {V}`; or start a new one: `claude-shim forget stuck claude`"
)


@pytest.fixture
def refused(home: Home) -> Home:
    """A room that is refused, and had another conversation before, and one that is not."""
    home.map("stuck", "claude", U)
    home.map("well", "claude", W)
    before = {"room": "stuck", "agent": "claude", "uuid": V, "last_used": stamp(1000)}
    (home.store / "history.jsonl").write_text(json.dumps(before) + "\n")
    refuse(home.transcript(U, "hello"), TOO_LONG)
    home.transcript(W, "hello")
    return home


def test_list_names_the_rooms_that_the_api_refuses(refused: Home) -> None:
    _, errors = refused.run("list")
    assert errors == f"{REFUSED}; {WAYS_OUT}\n"
    found = {each["room"]: each["api_error"] for each in refused.json("list")}
    assert found == {"stuck": TOO_LONG, "well": None}


def test_status_names_the_rooms_that_the_api_refuses(refused: Home) -> None:
    shown, _ = refused.run("status")
    assert lines(shown)[-2:] == [f"Refused   {REFUSED}", f"          {WAYS_OUT}"]
    assert refused.json("status")["refused"] == [
        {"room": "stuck", "agent": "claude", "error": TOO_LONG}
    ]


def test_doctor_names_the_rooms_that_the_api_refuses(refused: Home) -> None:
    found = [each for each in refused.findings() if each["check"] == "refusals"]
    assert [(each["status"], each["found"], each["mend"]) for each in found] == [
        ("problem", REFUSED, WAYS_OUT)
    ]
