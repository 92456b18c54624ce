"""What a transcript says: who said what first and last, how often, where, and how much it is."""

import json
import os
import posix
import time
from pathlib import Path
from typing import Any

import pytest

from shim.claude import summary
from shim.claude.projects import transcript_paths

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
V = "bae9c2a6-4a43-5e4c-9cf0-a1b9b5c7c9f3"
MEGABYTE = 1_000_000


def line(**fields: Any) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"


def user(content: object, **fields: Any) -> str:
    message = {"role": "user", "content": content}
    return line(parentUuid=None, isSidechain=False, type="user", message=message, **fields)


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


IMAGE = {"type": "image", "source": {"type": "base64", "data": "iVBORw0KGgo="}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "hi"}
ANSWER = line(type="assistant", message={"role": "assistant", "content": [text("heard")]})
SNAPSHOT = line(type="file-history-snapshot", content="x" * 1000)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    project = tmp_path / "projects" / "-home-ada-app"
    project.mkdir(parents=True)
    return project / f"{U}.jsonl"


def seconds(path: Path, prompt: str) -> float:
    """The processor time that a transcript of one prompt takes, at best."""
    path.write_text(user(prompt))
    times = []
    for _ in range(3):
        start = time.process_time()
        summary.read(str(path))
        times.append(time.process_time() - start)
    return min(times)


def seen(path: Path, *lines: str) -> summary.Summary:
    path.write_text("".join(lines))
    return summary.read(str(path))


@pytest.mark.parametrize("tags", ["<bash-x>", "</bash-x>", "<bash-x></bash-y>", "<bash-", "<"])
def test_reading_takes_as_long_as_the_text(path: Path, tags: str) -> None:
    # 32 times the text: were it to the square, 1,024 times the time.
    assert seconds(path, tags * (480_000 // len(tags))) < 400 * seconds(
        path, tags * (15_000 // len(tags))
    )


class TestPrompts:
    @pytest.mark.parametrize(
        ("content", "prompt"),
        [
            ("hello", "hello"),
            ([text("hello")], "hello"),
            ([text("[Image #1] what is"), IMAGE, text("this?")], "[Image #1] what is\nthis?"),
            ([IMAGE], "[image]"),
            ("<system-reminder>\nbe good\n</system-reminder>\nhello\n", "hello"),
            ([text("<system-reminder>x</system-reminder>"), text("hello")], "hello"),
            ("<b>hello</b>", "<b>hello</b>"),
            ("a<bash-x>1<bash-x>2</bash-x>b</bash-x>c", "ab</bash-x>c"),
            ("a<bash-x>1<bash-y>2</bash-x>b</bash-y>c", "ab</bash-y>c"),
            ("a<bash-x>b<bash-y></bash-y>c</bash-X>", "a<bash-x>bc</bash-X>"),
            ("</bash-x>a<bash-x>", "</bash-x>a<bash-x>"),
            ("réf 🙂\n日本", "réf 🙂\n日本"),
        ],
    )
    def test_what_somebody_said_is_a_turn(self, path: Path, content: object, prompt: str) -> None:
        found = seen(path, user(content), ANSWER)
        assert (found.turns, found.first_prompt, found.last_prompt) == (1, prompt, prompt)

    @pytest.mark.parametrize(
        "other",
        [
            user([RESULT]),
            user([RESULT, text("of the tool")]),
            user("Caveat: what follows", isMeta=True),
            user("This session is being continued", isCompactSummary=True),
            user("a summary", isVisibleInTranscriptOnly=True),
            user("<command-name>/clear</command-name>\n  <command-args></command-args>"),
            user("<local-command-stdout>Compacted </local-command-stdout>"),
            user("<bash-input>ls</bash-input>"),
            user("<bash-stdout>a</bash-stdout><bash-stderr></bash-stderr>"),
            user("<task-notification>\n<status>completed</status>\n</task-notification>"),
            user([text("[Request interrupted by user for tool use]")]),
            user(""),
            user([]),
            user(None),
            user([None, "odd"]),
            line(type="user", message="odd"),
            line(type="user"),
            line(type="queue-operation", operation="enqueue", content='"user" says'),
            line(type="api-request-blob", message={"role": "user", "content": "again"}),
            ANSWER,
            "[1]\n",
            '"user"\n',
            '{"type":"user"\n',
            "\0" * 4096 + "\n",
            "\n",
        ],
    )
    def test_what_claude_or_a_tool_wrote_is_none(self, path: Path, other: str) -> None:
        assert seen(path, other).turns == 0
        found = seen(path, other, user("hello"), ANSWER, other)
        assert (found.turns, found.first_prompt, found.last_prompt) == (1, "hello", "hello")

    def test_a_sidechain_is_a_subagents(self, path: Path) -> None:
        said = line(type="user", isSidechain=True, message={"role": "user", "content": "sub"})
        assert seen(path, said).turns == 0

    def test_first_and_last_are_kept_apart(self, path: Path) -> None:
        found = seen(path, user("one"), ANSWER, user("two"), ANSWER, user("three"), ANSWER)
        assert (found.turns, found.is_exact) == (3, True)
        assert (found.first_prompt, found.last_prompt) == ("one", "three")

    def test_spaces_between_the_fields_make_no_difference(self, path: Path) -> None:
        assert seen(path, json.dumps(json.loads(user("one"))) + "\n").turns == 1

    def test_a_line_that_is_torn_is_passed_over(self, path: Path) -> None:
        found = seen(path, user("one"), user("two")[:-9])
        assert (found.turns, found.last_prompt) == (1, "one")

    def test_an_empty_transcript_says_nothing(self, path: Path) -> None:
        found = seen(path)
        assert (found.size, found.turns, found.is_exact) == (0, 0, True)
        assert (found.first_prompt, found.last_prompt) == (None, None)
        assert (found.directory, found.started) == (None, None)


class TestSizes:
    def test_it_has_the_files_size_and_time(self, path: Path) -> None:
        seen(path, user("one"))
        os.utime(path, (1000.5, 1000.5))
        found = summary.read(str(path))
        assert (found.size, found.written) == (path.stat().st_size, 1000.5)

    def test_a_large_one_is_estimated_from_its_head_and_tail(self, path: Path) -> None:
        turns = [user(f"prompt {number}") + ANSWER + SNAPSHOT for number in range(3000)]
        found = seen(path, *turns)
        assert not found.is_exact
        assert found.turns == pytest.approx(3000, rel=0.02)
        assert (found.first_prompt, found.last_prompt) == ("prompt 0", "prompt 2999")

    def test_claudes_own_count_is_taken_where_there_is_one(self, path: Path) -> None:
        turns = [
            user(f"prompt {number}", turnPosition={"promptIndex": 0, "turnIndex": number})
            + (SNAPSHOT * 1000 if number == 20 else ANSWER)
            for number in range(1, 41)
        ]
        found = seen(path, *turns)
        assert (found.turns, found.is_exact) == (40, False)

    def test_gigabytes_are_not_read(self, path: Path) -> None:
        path.write_text(user("one") + ANSWER)
        with path.open("r+b") as file:
            file.seek(1 << 40)  # a hole: it takes no space
            file.write(f"\n{user('two')}{ANSWER}".encode())
        found = summary.read(str(path))
        assert found.size > 1 << 40
        assert (found.first_prompt, found.last_prompt) == ("one", "two")

    def test_a_line_of_megabytes_at_the_end_hides_only_itself(self, path: Path) -> None:
        picture = user([{**IMAGE, "source": {"data": "x" * 10 * MEGABYTE}}, text("see")])
        found = seen(path, user("one"), ANSWER, picture, ANSWER)
        assert (found.first_prompt, found.last_prompt) == ("one", None)
        assert found.turns >= 1

    def test_what_claude_notes_of_it_is_the_last_prompt_then(self, path: Path) -> None:
        picture = user([{**IMAGE, "source": {"data": "x" * 10 * MEGABYTE}}, text("see")])
        note = line(type="last-prompt", lastPrompt="see", leafUuid="1", sessionId=U)
        assert seen(path, user("one"), picture, ANSWER, note).last_prompt == "see"
        assert seen(path, user("one"), picture, note, user("two")).last_prompt == "two"

    def test_what_was_said_counts_before_what_claude_notes(self, path: Path) -> None:
        note = line(type="last-prompt", lastPrompt="one", leafUuid="1", sessionId=U)
        assert seen(path, user("one"), ANSWER, user("two"), ANSWER, note).last_prompt == "two"

    @pytest.mark.parametrize("start", [user("x" * MEGABYTE), "x" * MEGABYTE])
    def test_a_line_of_megabytes_at_the_start_hides_only_itself(
        self, path: Path, start: str
    ) -> None:
        found = seen(path, start, user("two"), ANSWER)
        assert (found.first_prompt, found.last_prompt) in [(None, "two"), (None, None)]

    @pytest.mark.parametrize("content", [b"\xff" * 100, b"x" * MEGABYTE, b"[" * MEGABYTE + b"\n"])
    def test_anything_else_says_nothing(self, path: Path, content: bytes) -> None:
        path.write_bytes(content)
        found = summary.read(str(path))
        assert (found.turns, found.size) == (0, len(content))

    def test_what_is_missing_is_an_error(self, path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            summary.read(str(path))

    @pytest.mark.parametrize("kind", ["FIFO", "directory"])
    def test_what_is_no_file_is_an_error_and_hangs_nobody(self, path: Path, kind: str) -> None:
        os.mkfifo(path) if kind == "FIFO" else path.mkdir()
        with pytest.raises(OSError, match=r"regular file|directory"):
            summary.read(str(path))


class TestDirectories:
    def test_it_is_the_one_that_the_project_is_named_after(self, path: Path) -> None:
        lines = [user("one", cwd=cwd) for cwd in ("/tmp", "/home/ada/app", "/home/ada")]
        assert seen(path, *lines).directory == "/home/ada/app"

    def test_else_the_first(self, path: Path) -> None:
        assert seen(path, user("one", cwd="/tmp"), user("two", cwd="/var")).directory == "/tmp"

    def test_a_long_project_name_is_cut(self, tmp_path: Path) -> None:
        directory = "/home/" + "d" * 250
        path = tmp_path / ("-home-" + "d" * 194 + "-1x2y3z") / f"{U}.jsonl"
        path.parent.mkdir()
        assert seen(path, user("a", cwd="/tmp"), user("b", cwd=directory)).directory == directory

    def test_half_a_character_makes_a_path_all_the_same(self, path: Path) -> None:
        assert seen(path, user("one", cwd="/tmp/\ud800")).directory == "/tmp/?"

    def test_it_started_with_the_first_line_that_has_a_time(self, path: Path) -> None:
        found = seen(
            path,
            user("one", timestamp="odd"),
            user("two", timestamp="2026-01-02T03:04:05.678Z"),
            user("three", timestamp="2026-01-02T03:04:06.000Z"),
        )
        assert found.started == 1767323045.678


class TestTranscriptPaths:
    @pytest.fixture
    def projects(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(tmp_path))
        return tmp_path / "projects"

    def write(self, path: Path, content: str, written: float) -> str:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        os.utime(path, (written, written))
        return str(path)

    def test_without_projects_there_are_none(self, projects: Path) -> None:
        assert transcript_paths([U]) == {}

    def test_those_that_are_asked_for_are_found_the_last_written_first(
        self, projects: Path
    ) -> None:
        old = self.write(projects / "-a" / f"{U}.jsonl", user("one"), 1000)
        new = self.write(projects / "-b" / f"{U}.jsonl", user("one"), 2000)
        other = self.write(projects / "-b" / f"{V}.jsonl", user("one"), 1500)
        self.write(projects / "-b" / f"{U}.jsonl.unusable-20260102T030405Z", "", 3000)
        self.write(projects / "-b" / U / "subagents" / "agent-1.jsonl", "", 3000)
        self.write(projects / "a file", "", 3000)
        assert transcript_paths([U, V, "nowhere"]) == {U: [new, old], V: [other]}
        assert transcript_paths([V]) == {V: [other]}

    def test_the_first_in_which_something_was_said_is_the_best(self, projects: Path) -> None:
        said = self.write(projects / "-a" / f"{U}.jsonl", user("one"), 1000)
        empty = self.write(projects / "-b" / f"{U}.jsonl", "", 2000)
        gone = str(projects / "-c" / f"{U}.jsonl")
        assert summary.best([gone, empty, said]) == (said, summary.read(said))
        assert summary.best([gone, empty]) == (empty, summary.read(empty))
        assert summary.best([gone]) is None
        assert summary.best([]) is None
