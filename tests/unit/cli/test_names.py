"""What subcommands are given: rooms and agents as the store has them, and lengths of time."""

import json
import os
import posix
import pwd
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete

from shim.base.session_key import SessionKey, stored_key
from shim.cli.names import AGE, AGENT, ROOM, Age

U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
ENTRY = {"uuid": U, "last_used": "2026-01-02T03:04:05.123456789Z"}


@click.command("c")
@click.argument("room", type=ROOM)
@click.argument("agent", type=AGENT, required=False)
def command(room: str, agent: str | None) -> None: ...


@click.command("c")
@click.option("--agent", type=AGENT)
def agent_alone(agent: str | None) -> None: ...


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where sessions.json is to be, in a directory of its own."""
    monkeypatch.setitem(posix.environ, b"NSED_SESSION_DIR", os.fsencode(tmp_path))
    return tmp_path / "sessions.json"


def completed(args: list[str], incomplete: str, of: click.Command = command) -> list[str]:
    completion = ShellComplete(of, {}, "c", "_C_COMPLETE")
    return [item.value for item in completion.get_completions(args, incomplete)]


class TestCompletion:
    def test_rooms_are_completed(self, store: Path) -> None:
        store.write_text(json.dumps({"refactor": {}, "release 2": {}, "other": {"a": ENTRY}}))
        assert completed([], "re") == ["refactor", "release 2"]
        assert completed([], "") == ["refactor", "release 2", "other"]

    def test_names_that_look_like_options_are_for_where_none_can_be(self, store: Path) -> None:
        store.write_text(json.dumps({"-a": {}, "b": {}}))
        assert completed([], "") == ["b"]
        assert completed(["--"], "-") == ["-a"]

    def test_what_is_no_file_is_not_waited_for(self, store: Path) -> None:
        os.mkfifo(store)
        assert completed([], "") == []

    def test_agents_of_the_room_are_completed(self, store: Path) -> None:
        agents = {"alice": ENTRY, "bob": ENTRY}
        store.write_text(json.dumps({"r": agents, "s": {"anna": ENTRY}}))
        assert completed(["r"], "a") == ["alice"]
        assert completed(["unknown"], "a") == []

    def test_without_a_room_the_agents_of_all_are_completed(self, store: Path) -> None:
        store.write_text(json.dumps({"r": {"alice": ENTRY}, "s": {"alice": ENTRY, "bo": ENTRY}}))
        assert completed(["--agent"], "", agent_alone) == ["alice", "bo"]

    def test_names_that_a_shell_would_take_apart_are_left_out(self, store: Path) -> None:
        store.write_text(json.dumps({"a\nb": {}, "": {}, "\ud800": {}, "é 🙂": {}}))
        assert completed([], "") == ["é 🙂"]

    @pytest.mark.parametrize("content", [b"", b"{ not", b"[]", b'{"r": 5}', b"\xff", None])
    def test_a_broken_store_completes_nothing_and_says_nothing(
        self, store: Path, capfd: pytest.CaptureFixture[str], content: bytes | None
    ) -> None:
        if content is None:
            store.mkdir()
        else:
            store.write_bytes(content)
        before = os.listdir(store.parent)
        assert completed([], "") == []
        assert capfd.readouterr() == ("", "")
        assert os.listdir(store.parent) == before

    def test_without_a_home_nothing_is_said(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        for name in (b"NSED_SESSION_DIR", b"HOME", b"USERPROFILE"):
            monkeypatch.delitem(posix.environ, name, raising=False)
        monkeypatch.setitem(posix.environ, b"TMPDIR", os.fsencode(tmp_path))
        monkeypatch.setattr(pwd, "getpwuid", {}.__getitem__)  # the system knows no home either
        assert completed([], "") == []
        assert capfd.readouterr() == ("", "")


class TestNames:
    @pytest.mark.parametrize(
        "name", [b"refactor", b"", b" two  words ", "🙂\n".encode(), b"caf\xe9", b"\xed\xa0\x80"]
    )
    def test_a_name_is_the_one_that_the_wrapper_makes_of_it(self, name: bytes) -> None:
        given = ROOM.convert(os.fsdecode(name), None, None)
        assert given == SessionKey(name, b"").room
        assert AGENT.convert(os.fsdecode(name), None, None) == SessionKey(b"", name).agent
        assert stored_key(given, "a").room == given

    def test_what_only_json_can_hold_has_a_key(self) -> None:
        assert stored_key("\ud800", "a").room == "?"


class TestAges:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("30d", 30 * 86400),
            ("12h", 12 * 3600),
            ("90 days", 90 * 86400),
            ("1 day", 86400),
            ("2w", 14 * 86400),
            ("2 Weeks", 14 * 86400),
            ("3mo", 90 * 86400),
            ("1 month", 30 * 86400),
            ("3 mons", 90 * 86400),
            ("1y", 365 * 86400),
            ("2 years", 730 * 86400),
            ("45min", 45 * 60),
            ("5 minutes", 300),
            ("10s", 10),
            ("10 secs", 10),
            ("1 hour", 3600),
            ("1.5d", 36 * 3600),
            ("0s", 0),
        ],
    )
    def test_it_is_a_number_with_a_unit(self, text: str, seconds: float) -> None:
        assert AGE.convert(text, None, None) == seconds

    @pytest.mark.parametrize(
        "text", ["", "30", "d", "-1d", "1e3d", "30 parsecs", "٣d", "1d2h", "9" * 400 + "d", "nan"]
    )
    def test_anything_else_is_refused_with_an_example(self, text: str) -> None:
        with pytest.raises(click.BadParameter, match="30d, 12h or '2 weeks'"):
            AGE.convert(text, None, None)

    @pytest.mark.parametrize("text", ["3m", "3 M"])
    def test_minutes_or_months_is_a_question(self, text: str) -> None:
        with pytest.raises(click.BadParameter, match="3min, minutes, or 3mo, months"):
            AGE.convert(text, None, None)

    def test_a_default_in_seconds_stays_one(self) -> None:
        assert AGE.convert(Age(5.0), None, None) == 5.0
