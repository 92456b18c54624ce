"""Finding the transcript of a conversation, and whether claude can resume it."""

import json
import os
import posix
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.claude import transcripts

U = "4de1c5c9-7b4d-5ebc-ae81-a0ca30a38a92"
USER = '{"type":"user","message":{"role":"user","content":"hi"},"uuid":"1"}\n'
ASSISTANT = '{"type":"assistant","message":{"role":"assistant","content":[]},"uuid":"2"}\n'
QUEUE = '{"type":"queue-operation","operation":"enqueue"}\n'
SIDECHAIN = '{"isSidechain":true,"type":"user","message":{"role":"user","content":"hi"}}\n'

Found = tuple[str | None, bool | None, list[str]]


class Projects:
    """Claude's directory of transcripts, and a working directory."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root / "projects"
        self.work = root / "work"
        self.work.mkdir()
        self._monkeypatch = monkeypatch
        self.go_to(self.work)
        monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(root))

    def go_to(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._monkeypatch.chdir(directory)

    @property
    def here(self) -> str:
        return re.sub("[^a-zA-Z0-9]", "-", os.getcwd())

    def path(self, project: str) -> Path:
        directory = self.root / project
        directory.mkdir(parents=True, exist_ok=True)
        return directory / f"{U}.jsonl"

    def write(self, project: str, content: str | bytes, written: float = 1000) -> str:
        path = self.path(project)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        os.utime(path, (written, written))
        return str(path)


@pytest.fixture
def projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Projects:
    return Projects(tmp_path, monkeypatch)


def found() -> Found:
    transcript, unusable = transcripts.find(U)
    if transcript is None:
        return None, None, unusable
    return transcript.path, transcript.is_here, unusable


class TestWhereTheyAre:
    def test_the_config_directory_is_claudes_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", b"/config")
        assert transcripts.projects_directory() == "/config/projects"

    @pytest.mark.parametrize("value", [None, b""])
    def test_without_one_it_is_in_the_home_directory(
        self, monkeypatch: pytest.MonkeyPatch, value: bytes | None
    ) -> None:
        monkeypatch.delitem(posix.environ, b"CLAUDE_CONFIG_DIR", raising=False)
        if value is not None:
            monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", value)
        monkeypatch.setitem(posix.environ, b"HOME", b"/home/me")
        assert transcripts.projects_directory() == "/home/me/.claude/projects"

    @pytest.mark.parametrize(
        ("directory", "name"),
        [
            ("/", "-"),
            ("/home/me/my-project", "-home-me-my-project"),
            ("/srv/a_b.c d", "-srv-a-b-c-d"),
            ("/Users/Me/2024", "-Users-Me-2024"),
            ("/é/日本", "-----"),
            ("/a²", "-a-"),
            ("/🙂", "---"),
            ("/👩‍👩‍👧x", "---------x"),
            ("/e\u0301", "-e-"),
            ("", ""),
        ],
    )
    def test_a_project_is_named_after_its_directory(self, directory: str, name: str) -> None:
        assert transcripts.project_name(directory) == name

    @given(st.text(st.characters(codec="utf-8")))
    def test_the_name_is_what_javascript_makes_of_the_directory(self, directory: str) -> None:
        # A JavaScript string is one of UTF-16 code units.
        units = directory.encode("utf-16-le")
        name = "".join(
            char if re.match("[a-zA-Z0-9]", char := chr(low | high << 8)) else "-"
            for low, high in zip(units[::2], units[1::2], strict=True)
        )
        assert transcripts.project_name(directory) == name


class TestFinding:
    def test_there_is_none_without_a_projects_directory(self, projects: Projects) -> None:
        assert not projects.root.exists()
        assert found() == (None, None, [])

    def test_there_is_none_among_others(self, projects: Projects) -> None:
        projects.path(projects.here).with_name("another.jsonl").write_text(USER)
        (projects.root / "a file").write_text("")
        assert found() == (None, None, [])

    def test_there_is_none_where_the_projects_directory_is_a_file(self, projects: Projects) -> None:
        projects.root.write_text("")
        assert found() == (None, None, [])

    def test_it_is_found_in_this_directorys_project(self, projects: Projects) -> None:
        path = projects.write(projects.here, USER)
        assert found() == (path, True, [])

    def test_it_is_found_in_another_project(self, projects: Projects) -> None:
        path = projects.write("-elsewhere", USER)
        assert found() == (path, False, [])

    def test_this_directorys_project_goes_before_a_newer_one(self, projects: Projects) -> None:
        path = projects.write(projects.here, USER, written=1000)
        projects.write("-elsewhere", USER, written=2000)
        assert found() == (path, True, [])

    @pytest.mark.parametrize("names", [("-a", "-b"), ("-b", "-a")])
    def test_of_several_elsewhere_the_newest_is_found(
        self, projects: Projects, names: tuple[str, str]
    ) -> None:
        newer, older = names
        path = projects.write(newer, USER, written=2000)
        projects.write(older, USER, written=1000)
        assert found() == (path, False, [])

    def test_an_older_one_that_can_be_resumed_goes_before_a_newer_unusable_one(
        self, projects: Projects
    ) -> None:
        path = projects.write("-a", USER, written=1000)
        projects.write("-b", QUEUE, written=2000)
        assert found() == (path, False, [])

    def test_one_elsewhere_goes_before_an_unusable_one_here(self, projects: Projects) -> None:
        projects.write(projects.here, "", written=2000)
        path = projects.write("-elsewhere", USER)
        assert found() == (path, False, [])

    def test_all_unusable_ones_stand_in_the_way(self, projects: Projects) -> None:
        here = projects.write(projects.here, "", written=1000)
        elsewhere = projects.write("-elsewhere", QUEUE, written=2000)
        assert found() == (None, None, [elsewhere, here])

    @pytest.mark.parametrize("kind", ["FIFO", "directory", "dangling link"])
    def test_what_is_no_file_stands_in_the_way_and_hangs_nobody(
        self, projects: Projects, kind: str
    ) -> None:
        path = projects.path(projects.here)
        if kind == "FIFO":
            os.mkfifo(path)
        elif kind == "directory":
            path.mkdir()
        else:
            path.symlink_to("nowhere")
        assert found() == (None, None, [str(path)])

    def test_what_is_no_file_hides_no_transcript(self, projects: Projects) -> None:
        os.mkfifo(projects.path(projects.here))
        path = projects.write("-elsewhere", USER)
        assert found() == (path, False, [])

    def test_a_link_to_a_transcript_is_one(self, projects: Projects, tmp_path: Path) -> None:
        (tmp_path / "kept").write_text(USER)
        path = projects.path(projects.here)
        path.symlink_to(tmp_path / "kept")
        assert found() == (str(path), True, [])

    @pytest.mark.parametrize("length", [199, 200])
    def test_a_project_name_up_to_the_limit_is_here(self, projects: Projects, length: int) -> None:
        self.go_to_a_name_of(projects, length)
        path = projects.write(projects.here, USER)
        assert found() == (path, True, [])

    @pytest.mark.parametrize(
        ("directory", "ending"),
        [
            ("/tmp/app/" + "long" * 50, "nglon-muxnd9"),
            ("/tmp/app/ä😀" + "long" * 50, "glong-pjc8ay"),
        ],
    )
    def test_a_longer_project_name_ends_in_the_hash_that_claude_gave_it(
        self, monkeypatch: pytest.MonkeyPatch, directory: str, ending: str
    ) -> None:
        monkeypatch.setattr(transcripts.posix, "getcwd", lambda: directory)
        assert (transcripts.this_project() or "").endswith(ending)

    def test_a_longer_project_name_with_another_hash_is_elsewhere(self, projects: Projects) -> None:
        self.go_to_a_name_of(projects, 201)
        path = projects.write(projects.here[:200] + "-1x2y3z", USER)
        assert found() == (path, False, [])

    def go_to_a_name_of(self, projects: Projects, length: int) -> None:
        directory = projects.work
        while (missing := length - len(str(directory.resolve())) - 1) > 100:
            directory /= "d" * 50
        projects.go_to(directory / ("e" * missing))
        assert len(projects.here) == length

    def test_a_conversation_is_found_from_a_deleted_directory(self, projects: Projects) -> None:
        path = projects.write(projects.here, USER)
        gone = projects.work / "gone"
        projects.go_to(gone)
        gone.rmdir()
        assert found() == (path, False, [])

    def test_a_config_directory_that_is_not_utf8_is_searched(
        self, projects: Projects, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        config = os.fsencode(tmp_path) + b"/caf\xe9"
        monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", config)
        directory = os.fsdecode(config) + f"/projects/{projects.here}"
        os.makedirs(directory)
        Path(directory, f"{U}.jsonl").write_text(USER)
        assert found() == (f"{directory}/{U}.jsonl", True, [])


class TestWhatCanBeResumed:
    @pytest.mark.parametrize(
        "content",
        [
            USER,
            ASSISTANT,
            USER.rstrip(),
            QUEUE + USER,
            USER + QUEUE,
            USER + USER[:20],
            USER[:20] + "\n" + USER,
            USER + "\0" * 4096,
            "\0" * 4096 + "\n" + USER,
            SIDECHAIN + USER,
            "\n\n" + USER,
            USER.replace("\n", "\r\n"),
            json.dumps(json.loads(USER)) + "\n",
            " " + USER,
            b"\xff\xfe\n" + USER.encode(),
            USER.replace("hi", 'he said \\"isSidechain\\":true'),
        ],
    )
    def test_a_whole_message_makes_a_transcript(
        self, projects: Projects, content: str | bytes
    ) -> None:
        path = projects.write(projects.here, content)
        assert found() == (path, True, [])

    @pytest.mark.parametrize(
        "content",
        [
            "",
            "\n",
            "\0" * 4096,
            QUEUE,
            QUEUE * 1000,
            USER[:-2],
            USER[:20],
            USER[:-2] + QUEUE,
            SIDECHAIN,
            '{"type":"user"}\n',
            '{"type":"user","message":"hi"}\n',
            '[{"type":"user","message":{}}]\n',
            '"type":"user","message":{}\n',
            '{"type":"queue-operation","content":"{\\"type\\":\\"user\\"}"}\n',
            "[" * 100_000 + "\n",
            b"\xff" + USER.encode(),
        ],
    )
    def test_anything_else_stands_in_the_way(
        self, projects: Projects, content: str | bytes
    ) -> None:
        path = projects.write(projects.here, content)
        assert found() == (None, None, [path])

    def test_a_message_on_the_last_line_of_a_large_file_is_found(self, projects: Projects) -> None:
        path = projects.write(projects.here, QUEUE * 200_000 + USER)
        assert found() == (path, True, [])

    def test_a_message_behind_a_line_of_megabytes_is_found(self, projects: Projects) -> None:
        snapshot = '{"type":"file-history-snapshot","content":"' + "x" * 5_000_000 + '"}\n'
        path = projects.write(projects.here, snapshot + USER)
        assert found() == (path, True, [])

    def test_lines_too_short_to_be_a_message_cost_no_parse(
        self, projects: Projects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = projects.write(projects.here, "\n" * 1000 + '"user"\n' * 1000)
        monkeypatch.setattr(json, "loads", lambda line: pytest.fail(f"{line!r} is parsed"))
        assert found() == (None, None, [path])

    def test_a_transcript_that_cannot_be_read_is_an_error(
        self, projects: Projects, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        projects.write(projects.here, USER)

        def refuse(*_: object) -> int:
            raise PermissionError("may not be read")

        monkeypatch.setattr(posix, "open", refuse)
        with pytest.raises(PermissionError):
            transcripts.find(U)


class TestSettingAside:
    def test_it_keeps_the_content_under_a_name_with_the_time(self, projects: Projects) -> None:
        path = projects.write(projects.here, QUEUE)
        aside = transcripts.set_aside(path)
        assert re.fullmatch(re.escape(path) + r"\.unusable-\d{8}T\d{6}Z", aside)
        assert Path(aside).read_text() == QUEUE
        assert found() == (None, None, [])

    def test_several_within_a_second_are_all_kept(self, projects: Projects) -> None:
        contents = [QUEUE * number for number in range(1, 5)]
        kept = [
            transcripts.set_aside(projects.write(projects.here, content)) for content in contents
        ]
        assert [Path(path).read_text() for path in kept] == contents

    def test_what_is_no_file_is_moved_too(self, projects: Projects) -> None:
        path = projects.path(projects.here)
        os.mkfifo(path)
        assert Path(transcripts.set_aside(str(path))).is_fifo()
        assert found() == (None, None, [])
