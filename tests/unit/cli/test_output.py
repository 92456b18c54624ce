"""What the subcommands show: tables that align, names that hide nothing, ages, sizes, JSON."""

import io
import json
import posix
import shlex
import subprocess
import sys
from types import SimpleNamespace

import click
import pytest

from shim.base import plain_text
from shim.cli import output, tables


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(posix.environ, b"HOME", b"/home/ada")
    for name in (b"NO_COLOR", b"TERM"):
        monkeypatch.delitem(posix.environ, name, raising=False)


class TestSlowProgress:
    @pytest.mark.parametrize(("seconds", "is_shown"), [(0.9, False), (1.1, True)])
    def test_a_terminal_shows_it_after_a_second(
        self, monkeypatch: pytest.MonkeyPatch, seconds: float, is_shown: bool
    ) -> None:
        clock = iter([0.0, seconds, *[9.0] * 99])
        monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(sys, "stderr", Terminal())
        with output.slow_progress(10, "Searching") as advance:
            advance(4)
            shown = sys.stderr.getvalue()  # type: ignore[attr-defined]  # our own
        assert ("Searching" in shown, " 40%" in shown) == (is_shown, is_shown)

    def test_a_file_shows_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = iter([0.0, 5.0])
        monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(clock)))
        monkeypatch.setattr(sys, "stderr", io.StringIO())
        with output.slow_progress(10, "Searching") as advance:
            advance(4)
        assert sys.stderr.getvalue() == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class TestTables:
    def test_columns_stand_below_one_another(self) -> None:
        rows = [("refactor", "claude", "7"), ("x", "a longer agent", "12")]
        assert plain(tables.table(("ROOM", "AGENT", "TURNS"), rows, right={2})) == [
            "ROOM      AGENT           TURNS",
            "refactor  claude              7",
            "x         a longer agent     12",
        ]

    def test_wide_characters_and_marks_count_as_a_terminal_draws_them(self) -> None:
        rooms = ["日本語", "e\u0301e\u0301", "👩‍👩‍👧", "👍🏽", "❤️", "🇩🇪", "한국", "ascii"]
        lines = plain(tables.table(("ROOM", "N"), [(room, "1") for room in rooms]))
        assert lines == [
            "ROOM    N",
            "日本語  1",
            "e\u0301e\u0301      1",
            "👩‍👩‍👧      1",
            "👍🏽      1",
            "❤️      1",
            "🇩🇪      1",
            "한국    1",
            "ascii   1",
        ]

    def test_colours_take_no_cells(self) -> None:
        lines = tables.table(("A", "B"), [(click.style("x", fg="red"), "1"), ("long", "2")])
        assert plain(lines) == ["A     B", "x     1", "long  2"]

    def test_nothing_stands_behind_the_last_cell(self) -> None:
        lines = plain(tables.table(("A", "B"), [("x", ""), ("y", "long")]))
        assert lines == ["A  B", "x", "y  long"]


def plain(lines: object) -> list[str]:
    return [click.unstyle(line) for line in lines]  # type: ignore[attr-defined]


class TestNarrowTerminals:
    def cut(self, cells: int) -> list[list[str]]:
        lines = [["ROOM", "PROJECT"], ["refactor", "~/src/app"]]
        tables.fit(lines, cells, {1: (4, tables.shortened_path), 0: (3, tables.shortened)})
        return lines

    @pytest.mark.parametrize(
        ("cells", "room", "project"),
        [
            (80, "refactor", "~/src/app"),
            (19, "refactor", "~/src/app"),
            (18, "refactor", "…src/app"),
            (14, "refactor", "…app"),
            (13, "refact…", "…app"),
            (9, "re…", "…app"),
            (1, "re…", "…app"),
        ],
    )
    def test_columns_are_cut_in_their_order_and_no_further_than_allowed(
        self, cells: int, room: str, project: str
    ) -> None:
        assert self.cut(cells)[1] == [room, project]

    def test_the_header_is_cut_with_its_column(self) -> None:
        assert self.cut(1)[0] == ["RO…", "…ECT"]

    @pytest.mark.parametrize(
        ("text", "cells", "shown"),
        [
            ("abc", 3, "abc"),
            ("abcd", 3, "ab…"),
            ("日本語", 6, "日本語"),
            ("日本語", 5, "日本…"),
            ("日本語", 4, "日…"),
            ("👩‍👩‍👧 family", 3, "👩‍👩‍👧…"),
            ("", 0, ""),
        ],
    )
    def test_a_text_keeps_its_beginning(self, text: str, cells: int, shown: str) -> None:
        assert tables.shortened(text, cells) == shown

    @pytest.mark.parametrize(
        ("path", "cells", "shown"),
        [("~/a/b", 5, "~/a/b"), ("~/a/bc", 5, "…a/bc"), ("~/日本/語", 6, "…本/語")],
    )
    def test_a_path_keeps_its_end(self, path: str, cells: int, shown: str) -> None:
        assert tables.shortened_path(path, cells) == shown


class TestNames:
    @pytest.mark.parametrize(
        "text",
        ["", "refactor", "two words", "back\\slash", "réf", "日本", "👩‍👩‍👧", "❤️", "🇩🇪", "e\u0301"],
    )
    def test_what_shows_is_left_alone(self, text: str) -> None:
        assert plain_text.printable(text) == text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("a\nb\r\nc\td", r"a\nb\r\nc\td"),
            ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
            ("\x7f\x85\x9b", r"\x7f\x85\x9b"),
            ("a\u2028b\u2029c", r"a\u2028b\u2029c"),
            ("\u202etxt.exe\u2066", r"\u202etxt.exe\u2066"),
            ("ad\u200bmin\ufeff\u00ad", r"ad\u200bmin\ufeff\xad"),
            ("ad\u200dmin", r"ad\u200dmin"),
            ("a\ufe01\U000e0101", r"a\ufe01\U000e0101"),
            ("\u3164\u115f", r"\u3164\u115f"),
            ("\U000e0061", r"\U000e0061"),
            ("half \ud83d", r"half \ud83d"),
        ],
    )
    def test_what_would_not_show_is_escaped(self, text: str, shown: str) -> None:
        assert plain_text.printable(text) == shown

    @pytest.mark.parametrize(
        ("text", "shown"),
        [("", '""'), (" ", '" "'), ("a ", '"a "'), ("\u3000a", '"\u3000a"'), ("\n", r"\n")],
    )
    def test_a_name_whose_ends_would_not_show_is_quoted(self, text: str, shown: str) -> None:
        assert output.name(text) == shown

    @pytest.mark.parametrize(
        ("path", "shown"),
        [
            ("/home/ada", "~"),
            ("/home/ada/src", "~/src"),
            ("/home/adam", "/home/adam"),
            ("/srv\n", r"/srv\n"),
        ],
    )
    def test_the_home_directory_is_a_tilde(self, path: str, shown: str) -> None:
        assert output.at_home(path) == shown

    @pytest.mark.parametrize(
        "word", ["a", "two words", "it's", "$HOME", "\x1b'\\\n", "a\u202eb", ""]
    )
    def test_a_word_for_the_shell_is_one_line_and_the_same_word(self, word: str) -> None:
        quoted = plain_text.shell_word(word)
        assert plain_text.printable(quoted) == quoted
        said = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, text=True)
        assert said.stdout == word

    def test_half_a_character_for_the_shell_is_the_stores(self) -> None:
        assert plain_text.shell_word("a\ud800") == "$'a\\x3f'"

    def test_a_plain_word_for_the_shell_is_left_alone(self) -> None:
        assert plain_text.shell_word("/home/ada/app") == "/home/ada/app"
        assert plain_text.shell_word("réf 日本") == shlex.quote("réf 日本")


class TestAgesAndSizes:
    @pytest.mark.parametrize(
        ("seconds", "shown"),
        [
            (0, "0 s ago"),
            (59.9, "59 s ago"),
            (60, "1 min ago"),
            (200, "3 min ago"),
            (3599, "59 min ago"),
            (3600, "1 h ago"),
            (2 * 86400 - 1, "47 h ago"),
            (2 * 86400, "2 days ago"),
            (59 * 86400, "59 days ago"),
            (61 * 86400, "2 months ago"),
            (729 * 86400, "23 months ago"),
            (731 * 86400, "2 years ago"),
            (-30, "in 30 s"),
            (-7200, "in 2 h"),
        ],
    )
    def test_ages(self, seconds: float, shown: str) -> None:
        assert output.age(seconds) == shown

    @pytest.mark.parametrize(
        ("count", "shown"),
        [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9_949, "9.9 kB"),
            (9_950, "10 kB"),
            (999_499, "999 kB"),
            (999_500, "1.0 MB"),
            (1_234_567, "1.2 MB"),
            (5_000_000_000, "5.0 GB"),
            (12_000_000_000_000, "12 TB"),
            (5_000_000_000_000_000, "5000 TB"),
        ],
    )
    def test_sizes(self, count: int, shown: str) -> None:
        assert output.size(count) == shown

    def test_times_for_programs_are_iso(self) -> None:
        assert output.iso(1767323045.678) == "2026-01-02T03:04:05Z"
        assert output.iso(None) is None


class TestJson:
    def test_it_is_readable_a_field_a_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        output.show_json({"room": "réf 🙂"})
        assert capsys.readouterr().out == '{\n  "room": "réf 🙂"\n}\n'
        output.show_json([{"room": "réf 🙂", "agent": "claude"}, {}])
        shown = '[{"room": "réf 🙂",\n  "agent": "claude"},\n  {}]\n'
        assert capsys.readouterr().out == shown

    @pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1", "euc-jp"])
    @pytest.mark.parametrize("text", ["half \ud83d", "réf 🙂", "日本"])
    def test_any_text_can_be_printed_to_any_stdout(
        self, monkeypatch: pytest.MonkeyPatch, encoding: str, text: str
    ) -> None:
        written = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding))
        output.show_json([text])
        assert json.loads(written.getvalue().decode(encoding)) == [text]


class TestColours:
    def test_there_are_some(self) -> None:
        assert output.good("x") == "\x1b[32mx\x1b[0m"

    @pytest.mark.parametrize(("name", "value"), [(b"NO_COLOR", b"1"), (b"TERM", b"dumb")])
    def test_who_wants_none_gets_none(
        self, monkeypatch: pytest.MonkeyPatch, name: bytes, value: bytes
    ) -> None:
        monkeypatch.setitem(posix.environ, name, value)
        for colour in (output.dim, output.good, output.doubtful, output.bad, output.bold):
            assert colour("x") == "x"

    def test_an_empty_no_color_is_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(posix.environ, b"NO_COLOR", b"")
        assert output.bad("x") != "x"


class TestProgress:
    @pytest.mark.parametrize(("count", "is_shown"), [(499, False), (500, True)])
    def test_many_steps_show_on_a_terminal_how_far_they_are(
        self, count: int, is_shown: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        terminal = io.StringIO()
        monkeypatch.setattr(terminal, "isatty", lambda: True)
        monkeypatch.setattr(sys, "stderr", terminal)
        with output.progress(range(count), count, "Reading transcripts") as steps:
            assert list(steps) == list(range(count))
        assert ("Reading transcripts" in terminal.getvalue()) == is_shown

    def test_a_pipe_has_no_bar(self, capsys: pytest.CaptureFixture[str]) -> None:
        with output.progress(range(1000), 1000, "Reading transcripts") as steps:
            assert list(steps) == list(range(1000))
        assert capsys.readouterr().err == ""
