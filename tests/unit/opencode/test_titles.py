"""OpenCode's own titles of its sessions, and what stands in the place of its database."""

import posix
import sqlite3
from pathlib import Path

import pytest

from shim.opencode import titles


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(posix.environ, b"HOME", str(tmp_path).encode())
    monkeypatch.delitem(posix.environ, b"XDG_DATA_HOME", raising=False)
    path = tmp_path / ".local/share/opencode/opencode.db"
    path.parent.mkdir(parents=True)
    return path


def fill(path: Path, *rows: tuple[object, object]) -> None:
    database = sqlite3.connect(path)
    database.execute("PRAGMA journal_mode = wal")
    database.execute("CREATE TABLE session (id text PRIMARY KEY, title text NOT NULL)")
    database.executemany("INSERT INTO session VALUES (?, ?)", rows)
    database.commit()
    database.close()


def test_each_session_has_its_title_by_its_room(database: Path) -> None:
    fill(database, ("ses_1", "Mend the parser"), ("ses_2", "日本"))
    assert titles.by_room() == {"oc-ses_1": "Mend the parser", "oc-ses_2": "日本"}


def test_what_opencode_calls_a_session_before_it_knows_better_is_none(database: Path) -> None:
    fill(database, ("ses_1", "New session - 2026-11-25T03:00:00.000Z"), ("ses_2", ""))
    assert titles.by_room() == {}


def test_another_home_for_data_is_heeded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    elsewhere = tmp_path / "a name? with#signs%20"
    (elsewhere / "opencode").mkdir(parents=True)
    fill(elsewhere / "opencode/opencode.db", ("ses_1", "Mend the parser"))
    monkeypatch.setitem(posix.environ, b"XDG_DATA_HOME", str(elsewhere).encode())
    assert titles.by_room() == {"oc-ses_1": "Mend the parser"}


@pytest.mark.parametrize("content", [None, b"", b"no database", "directory"])
def test_what_is_no_database_of_its_has_no_titles(
    database: Path, content: bytes | str | None
) -> None:
    if isinstance(content, bytes):
        database.write_bytes(content)
    elif content:
        database.mkdir()
    assert titles.by_room() == {}


def test_a_database_that_is_being_written_is_read_as_it_was(database: Path) -> None:
    fill(database, ("ses_1", "Mend the parser"))
    writer = sqlite3.connect(database, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("UPDATE session SET title = 'other'")
    assert titles.by_room() == {"oc-ses_1": "Mend the parser"}
    writer.close()
