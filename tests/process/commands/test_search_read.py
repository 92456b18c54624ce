"""`claude-shim search` and `read`: what was said in a room is found again, and read."""

from __future__ import annotations

import gzip
import json
import os
import posix
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shim.forks import catching_up, writing
from tests.support.claude_shim import PACKAGE, PROGRAM, ask, printed, refused
from tests.support.recorder import World, read_line, wait_until, write_program
from tests.support.rooms import U, V, W, entry, store
from tests.support.transcripts import Writer

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

ADA = Path("/home/ada/app")
DAY = 86400


def conversation(world: World, session_id: str, *said: tuple[str, str]) -> Writer:
    """A transcript with turns."""
    path = world.transcript(session_id, ADA)
    path.write_bytes(b"")
    writer = Writer(path)
    for prompt, answer in said:
        writer.say(prompt, answer)
    return writer


@pytest.fixture
def room(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[Writer]:
    """A room of two turns, and the transcript of it."""
    monkeypatch.setitem(posix.environ, b"HOME", os.fsencode(world.home))
    monkeypatch.delitem(posix.environ, b"CLAUDE_CONFIG_DIR", raising=False)
    store(world, {"refactor": {"claude": entry(U)}})
    return conversation(world, U, ("Remember the word heron", "OK"), ("And crane", "A Crane, too"))


def hits(world: World, *args: str) -> list[dict[str, Any]]:
    done = ask(world, "search", *args, "--json")
    assert done.stderr == b""
    found: list[dict[str, Any]] = json.loads(done.stdout)
    assert done.exit_code == (0 if found else 1)
    return found


def texts(world: World, *args: str) -> list[str]:
    return [hit["text"] for hit in hits(world, *args)]


def read(world: World, *args: str) -> list[tuple[str, str]]:
    """Who said what."""
    found = json.loads(printed(world, "read", *args, "--json"))
    return [(message["who"], message["text"]) for message in found]


class TestSearch:
    def test_prompts_and_answers_are_found_the_newest_first(
        self, world: World, room: Writer
    ) -> None:
        assert texts(world, "crane") == ["A Crane, too", "And crane"]
        assert texts(world, "Crane") == ["A Crane, too"]
        assert texts(world, "the word", "remember") == ["Remember the word heron"]
        assert texts(world, "remember", "crane") == []
        assert texts(world, "--regex", r"\bw\w+d\b") == ["Remember the word heron"]

    def test_a_hit_says_what_reads_and_what_opens_it(self, world: World, room: Writer) -> None:
        (hit,) = hits(world, "heron")
        assert (hit["room"], hit["agent"], hit["who"]) == ("refactor", "claude", "user")
        assert (hit["session_id"], hit["conversation"]) == (U, "head")
        assert hit["transcript"] == str(room.path)
        assert hit["open"] == "claude-shim open refactor"
        command = hit["read"].replace("'", "").split()
        assert command[:3] == ["claude-shim", "read", "--since"]
        when = " ".join(command[3:5])
        assert read(world, "refactor", "--since", when)[0] == ("user", "Remember the word heron")

    def test_in_a_pipe_a_line_is_a_row(self, world: World, room: Writer) -> None:
        header, row = printed(world, "search", "heron").splitlines()
        assert header.split("\t") == ["ROOM", "AGENT", "WHEN", "WHO", "TEXT"]
        assert row.split("\t")[:2] == ["refactor", "claude"]
        assert row.split("\t")[3:] == ["user", "Remember the word heron"]

    def test_nothing_found_is_exit_code_1(self, world: World, room: Writer) -> None:
        done = ask(world, "search", "nowhere")
        assert (done.exit_code, done.stdout) == (1, b"")
        assert done.stderr == b"No message matches, in 1 conversation.\n"

    def test_only_the_newest_are_shown_and_how_to_see_more(
        self, world: World, room: Writer
    ) -> None:
        done = ask(world, "search", "crane", "--limit", "1")
        assert done.stdout.splitlines()[1].endswith(b"A Crane, too")
        assert done.stderr == b"The newest 1. More: --limit 4.\n"

    def test_rooms_agents_and_times_narrow_it(self, world: World, room: Writer) -> None:
        store(world, {"refactor": {"claude": entry(U), "bot": entry(V)}, "docs": {"bot": entry(W)}})
        conversation(world, V, ("heron of the bot", "OK"))
        conversation(world, W, ("heron of the docs", "OK"))
        assert texts(world, "heron", "--agent", "bot", "--room", "refactor") == ["heron of the bot"]
        assert texts(world, "heron", "--room", "docs") == ["heron of the docs"]
        assert texts(world, "heron", "--until", "2026-11-29") == []
        assert len(texts(world, "heron", "--since", "2026-11-29")) == 3
        assert b"see `claude-shim list`" in ask(world, "search", "x", "--room", "none").stderr

    def test_titles_are_found_once(self, world: World, room: Writer) -> None:
        for _ in range(2):
            room.write({"type": "ai-title", "aiTitle": "Birds of the marsh", "sessionId": U})
        (hit,) = hits(world, "marsh")
        assert (hit["who"], hit["text"]) == ("title", "Birds of the marsh")

    def test_tools_are_searched_where_that_is_asked_for(self, world: World, room: Writer) -> None:
        use_a_tool(room, {"command": "make heronry"}, "built the heronry")
        assert texts(world, "heronry") == []
        found = [(hit["who"], hit["text"]) for hit in hits(world, "heronry", "--tools")]
        assert found == [("result", "built the heronry"), ("tool", "Bash\nmake heronry")]

    def test_long_results_that_claude_keeps_in_files_are_searched_too(
        self, world: World, room: Writer
    ) -> None:
        file = room.path.with_suffix("") / "tool-results" / "toolu_1.txt"
        file.parent.mkdir(parents=True)
        file.write_bytes(b"x" * 1_000_000 + b"\nthe marabou \xff stork\n")
        assert texts(world, "marabou") == []
        (hit,) = hits(world, "marabou", "--tools")
        assert (hit["who"], hit["transcript"], hit["uuid"]) == ("result", str(file), None)
        assert hit["lines"] == ["the marabou \ufffd stork"]
        shown = ask(world, "search", "marabou", "--tools").stdout
        assert b"result" in shown
        assert len(shown) < 1000

    def test_earlier_conversations_are_searched(self, world: World, room: Writer) -> None:
        conversation(world, V, ("An earlier egret", "OK"))
        line = {"room": "refactor", "agent": "claude", **entry(V)}
        (world.store.parent / "history.jsonl").write_text(json.dumps(line) + "\n")
        (hit,) = hits(world, "egret")
        assert hit["conversation"] == "earlier"
        assert hit["read"].endswith(f"--earlier {V[:8]} refactor")
        assert hit["open"] == f"claude-shim link refactor claude {V[:8]}"

    def test_what_a_fork_shares_with_its_head_is_found_once(
        self, world: World, room: Writer
    ) -> None:
        fork = fork_of(world, room)
        fork.say("Only the fork knows the egret", "OK")
        (shared,) = hits(world, "heron")
        (own,) = hits(world, "egret")
        assert (shared["conversation"], own["conversation"]) == ("head", "fork")
        assert own["open"] == "claude-shim open refactor"

    def test_what_claude_cleaned_up_is_found_in_its_pin(self, world: World, room: Writer) -> None:
        pin = kept(world)
        room.path.rename(pin)
        long_ago = time.time() - 40 * DAY
        os.utime(pin, (long_ago, long_ago))
        (hit,) = hits(world, "heron")
        assert hit["transcript"] == str(pin)

    def test_and_in_its_compressed_copy(self, world: World, room: Writer) -> None:
        copy = kept(world).with_suffix(".jsonl.gz")
        copy.write_bytes(gzip.compress(room.path.read_bytes()))
        room.path.unlink()
        (hit,) = hits(world, "heron")
        assert hit["transcript"] == str(copy)
        assert read(world, "refactor", "--last", "1")[0] == ("user", "And crane")

    def test_a_damaged_copy_is_named_and_the_rest_is_found(
        self, world: World, room: Writer
    ) -> None:
        store(world, {"refactor": {"claude": entry(U)}, "lost": {"claude": entry(V)}})
        copy = kept(world, V).with_suffix(".jsonl.gz")
        copy.write_bytes(gzip.compress(b"x" * 5000)[:-9])
        done = ask(world, "search", "heron")
        assert b"Remember the word heron" in done.stdout
        assert done.stderr.startswith(f"claude-shim: cannot read {copy} (".encode())

    def test_another_config_directory_is_searched(self, world: World, room: Writer) -> None:
        other = world.home / "other" / "projects" / "p" / room.path.name
        other.parent.mkdir(parents=True)
        room.path.rename(other)
        kept(world).with_name(f"{U}.from").symlink_to(other)
        (hit,) = hits(world, "heron")
        assert hit["transcript"] == str(other)

    def test_ctrl_c_shows_what_was_found_so_far(self, world: World, room: Writer) -> None:
        rooms = {
            f"r{number}": {"claude": entry(session_id)} for number, session_id in enumerate([V, W])
        }
        store(world, {"refactor": {"claude": entry(U)}, **rooms})
        for session_id in (V, W):
            path = conversation(world, session_id, ("heron, long ago", "OK")).path
            long_ago = time.time() - DAY
            os.utime(path, (long_ago, long_ago))
        with room.path.open("ab") as file:
            file.truncate(9 << 20)  # from there on, files are looked through by grep
        grep = write_program(
            world.root / "slow" / "grep", '#!/bin/sh\necho >>"$0.runs"\nexec sleep 600\n'
        )
        world.path(grep.parent, "/usr/bin", "/bin")
        command = ("-c", PROGRAM, "search", "heron")
        how: dict[str, Any] = {"env": {"PYTHONPATH": PACKAGE}, "start_new_session": True}
        with world.start(*command, program=Path(sys.executable), **how) as process:
            runs = grep.with_name("grep.runs")
            wait_until(lambda: runs.exists() and runs.stat().st_size == 2)
            os.killpg(process.pid, signal.SIGINT)
            stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (130, b"")
        assert stdout.endswith(b"\tuser\tRemember the word heron\n")
        assert stdout.count(b"heron") == 1

    @pytest.mark.parametrize(
        ("args", "why"),
        [
            (["--regex", "("], "WORDS is no regular expression"),
            ([" "], "A word to search for is empty."),
            (["x", "--since", "yesterday"], "'yesterday' is no time, such as 2w"),
            (["x", "--since", "3m"], "is '3m' 3min, minutes, or 3mo, months?"),
        ],
    )
    def test_what_cannot_be_meant_is_refused(
        self, world: World, room: Writer, args: list[str], why: str
    ) -> None:
        assert why in refused(world, "search", *args, exit_code=2)


class TestRead:
    def test_in_a_pipe_it_is_markdown(self, world: World, room: Writer) -> None:
        lines = printed(world, "read", "refactor", "--last", "1").splitlines()
        assert [line.partition(",")[0] for line in lines] == [
            *("# refactor", "", "## user", "", "And crane", ""),
            *("## claude", "", "A Crane"),
        ]
        assert lines[-1] == "A Crane, too"

    def test_the_last_turns_and_those_since(self, world: World, room: Writer) -> None:
        assert read(world, "refactor", "--last", "1") == [
            ("user", "And crane"),
            ("claude", "A Crane, too"),
        ]
        assert len(read(world, "refactor", "--last", "9")) == 4
        assert len(read(world, "refactor", "--since", "2026-11-29")) == 4
        done = ask(world, "read", "refactor", "--since", "2099-01-01")
        assert done.stderr == b"Nothing was said since then.\n"

    def test_a_call_of_a_tool_is_a_line_or_whole(self, world: World, room: Writer) -> None:
        use_a_tool(room, {"command": "make\ntest", "timeout": 5}, "all\npass")
        assert read(world, "refactor", "--last", "1") == [
            ("user", "use it"),
            ("tool", "Bash  make test"),
            ("claude", "done"),
        ]
        assert read(world, "refactor", "--last", "1", "--tools") == [
            ("user", "use it"),
            ("tool", "Bash\ncommand: make\ntest\ntimeout: 5"),
            ("result", "all\npass"),
            ("claude", "done"),
        ]
        shown = printed(world, "read", "refactor", "--last", "1", "--tools")
        assert "```\nBash\ncommand: make\ntest\ntimeout: 5\n```" in shown

    def test_results_of_tools_at_the_same_time_are_all_shown(
        self, world: World, room: Writer
    ) -> None:
        room.ask("two at once")
        calls = [
            room.assistant(None, "tool_use", {"type": "tool_use", "id": n, "name": n, "input": {}})
            for n in ("one", "two")
        ]
        calls[0]["parentUuid"], calls[1]["parentUuid"] = room.leaf(), calls[0]["uuid"]
        results = [
            room.user(call["uuid"], [{"type": "tool_result", "tool_use_id": n, "content": n}])
            for call, n in zip(calls, ("one", "two"), strict=True)
        ]
        room.write(*calls, *results)
        end = room.assistant(results[1]["uuid"], "end_turn", {"type": "text", "text": "done"})
        room.write(end)
        shown = read(world, "refactor", "--last", "1", "--tools")
        assert [text for who, text in shown if who == "result"] == ["one", "two"]

    def test_what_was_rewound_is_not_shown(self, world: World, room: Writer) -> None:
        before = room.leaf()
        room.say("a mistake")
        room.rewind(before)
        assert "a mistake" not in printed(world, "read", "refactor")
        assert "And crane" in printed(world, "read", "refactor")

    def test_a_compaction_and_an_interruption_are_marked(self, world: World, room: Writer) -> None:
        boundary = room.row("system", None, subtype="compact_boundary")
        boundary["logicalParentUuid"] = room.leaf()
        room.write(boundary)
        summary = room.user(boundary["uuid"], "a summary", isCompactSummary=True)
        room.write(summary)
        room.ask("and then?")
        room.write(room.user(room.leaf(), "[Request interrupted by user]"))
        shown = read(world, "refactor")
        assert [who for who, _ in shown] == [*("user", "claude") * 2, "note", "user", "note"]
        assert shown[4][1].startswith("compacted: ")
        assert shown[-1][1] == "interrupted"

    def test_images_and_a_prompt_in_mid_turn_are_shown(self, world: World, room: Writer) -> None:
        room.write(room.user(room.leaf(), [{"type": "image", "source": {"data": "x" * 99}}]))
        queued = {"type": "queued_command", "prompt": "be quick"}
        room.write(room.row("attachment", room.leaf(), attachment=queued))
        thought = {"type": "thinking", "thinking": "secret", "signature": "s"}
        room.write(room.assistant(room.leaf(), "end_turn", thought))
        assert read(world, "refactor")[-2:] == [("user", "[image]"), ("user", "be quick")]

    def test_what_only_a_fork_has_comes_last_and_is_marked(
        self, world: World, room: Writer
    ) -> None:
        fork = fork_of(world, room)
        fork.say("in the fork", "heard")
        shown = printed(world, "read", "refactor", "--last", "1")
        assert f"in fork {fork.session_id[:8]}, not appended yet" in shown
        assert "in the fork" in shown

    def test_what_came_from_a_fork_is_marked(self, world: World, room: Writer) -> None:
        fork = fork_of(world, room)
        fork.say("in the fork", "heard")
        catching_up.catch_up(str(world.store.parent), U)
        shown = printed(world, "read", "refactor", "--last", "1")
        assert f", from fork {fork.session_id[:8]}\n\nin the fork\n" in shown
        (message, _) = json.loads(printed(world, "read", "refactor", "--last", "1", "--json"))
        assert (message["session_id"], message["appended"]) == (fork.session_id, True)

    def test_an_earlier_conversation_or_a_fork_is_read_by_its_id(
        self, world: World, room: Writer
    ) -> None:
        fork = fork_of(world, room)
        fork.say("in the fork", "heard")
        shown = read(world, "refactor", "--earlier", fork.session_id[:8], "--last", "1")
        assert shown == [("user", "in the fork"), ("claude", "heard")]
        assert "no conversation of the room" in refused(
            world, "read", "refactor", "--earlier", "9999"
        )
        too_short = refused(world, "read", "refactor", "--earlier", "9", exit_code=2)
        assert too_short.startswith("ID takes 4 characters or more.")

    def test_a_room_that_cannot_be_read_says_why(self, world: World, room: Writer) -> None:
        store(world, {"refactor": {"a": entry(U), "b": entry(V)}, "new": {"claude": entry(W)}})
        assert (
            refused(world, "read", "refactor")
            == "room 'refactor' has several agents: name one of a, b"
        )
        assert refused(world, "read", "new") == f"conversation {W} has no transcript"
        assert "did you mean 'refactor'?" in refused(world, "read", "refacto")

    def test_torn_lines_and_other_things_are_passed_over(self, world: World, room: Writer) -> None:
        with room.path.open("ab") as file:
            file.write(b'\0\0\0{"type":"user"\n[1]\n{"type":"user","message":7}\n{"to')
        assert len(read(world, "refactor")) == 4
        assert texts(world, "crane") == ["A Crane, too", "And crane"]


class TestFollow:
    def test_what_is_said_is_shown_as_it_is_said(self, world: World, room: Writer) -> None:
        fork = fork_of(world, room)
        with following(world, "refactor", "--json") as process:
            assert next_texts(process, 2) == ["And crane", "A Crane, too"]
            room.say("now", "heard")
            assert next_texts(process, 2) == ["now", "heard"]
            fork.say("in the fork", "heard, too")
            assert next_texts(process, 2) == ["in the fork", "heard, too"]
            catching_up.catch_up(str(world.store.parent), U)
            room.say("later", "yes")
            assert next_texts(process, 2) == ["later", "yes"]

    def test_of_a_fork_that_begins_only_what_is_new_is_shown(
        self, world: World, room: Writer
    ) -> None:
        with following(world, "refactor", "--json") as process:
            next_texts(process, 2)
            fork = fork_of(world, room)
            fork.say("in a new fork", "heard")
            assert next_texts(process, 2) == ["in a new fork", "heard"]

    def test_a_room_that_begins_anew_is_followed_there(self, world: World, room: Writer) -> None:
        with following(world, "refactor") as process:
            lines_until(process, b"A Crane, too")
            store(world, {"refactor": {"claude": entry(V)}})
            conversation(world, V, ("Afresh", "Yes"))
            shown = lines_until(process, b"Afresh")
            assert not any(b"fork" in line for line in shown)

    def test_ctrl_c_ends_it(self, world: World, room: Writer) -> None:
        with following(world, "refactor") as process:
            lines_until(process, b"A Crane, too")
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 130


def use_a_tool(room: Writer, given: dict[str, Any], result: str) -> None:
    """Have a turn with a call of a tool."""
    room.ask("use it")
    call = {"type": "tool_use", "id": "t", "name": "Bash", "input": given}
    room.write(room.assistant(room.leaf(), "tool_use", call))
    answer = {"type": "tool_result", "tool_use_id": "t", "content": result}
    room.write(room.user(room.leaf(), [answer]))
    room.answer("done")


def fork_of(world: World, room: Writer) -> Writer:
    """A fork of a conversation, as a call makes one."""
    path = writing.write(str(world.store.parent), str(room.path), W, "a test")
    assert path is not None
    return Writer(Path(path))


def kept(world: World, session_id: str = U) -> Path:
    """Where a conversation's pin belongs."""
    folder = world.store.parent / "kept"
    folder.mkdir(exist_ok=True)
    return folder / f"{session_id}.jsonl"


@contextmanager
def following(world: World, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """`claude-shim read --follow`, until the test ends."""
    command = ("-c", PROGRAM, "read", "--follow", *args)
    program = Path(sys.executable)
    with world.start(*command, program=program, env={"PYTHONPATH": PACKAGE}) as process:
        try:
            yield process
        finally:
            process.kill()


def next_texts(process: subprocess.Popen[bytes], count: int) -> list[str]:
    """The texts of the next messages, as `--json` prints them."""
    assert process.stdout
    return [json.loads(read_line(process.stdout))["text"] for _ in range(count)]


def lines_until(process: subprocess.Popen[bytes], text: bytes) -> list[bytes]:
    """The next lines, up to the one that is this text."""
    assert process.stdout
    return list(iter(lambda: read_line(process.stdout).strip(), text))
