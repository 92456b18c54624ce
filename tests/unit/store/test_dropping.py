"""Dropping mappings while others use the store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from shim.store import document, locked_file
from shim.store.store import Store

if TYPE_CHECKING:
    from shim.store.document import Document

LONG_AGO = "2025-01-02T03:04:05.123456789Z"


def entry(n: int) -> dict[str, Any]:
    return {"uuid": f"{n:08x}-0000-4000-8000-000000000000", "last_used": LONG_AGO}


MAPPINGS: Document = {
    "one": {"a": entry(1), "b": entry(2)},
    'quoted "last_used": "x"': {"a": entry(3)},
    "two": {"a": entry(4)},
    "empty": {},
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "sessions.json").write_bytes(document.dump(MAPPINGS))
    return Store(str(tmp_path))


def read(store: Store) -> Document:
    return document.parse(Path(store.path).read_bytes())


DOOMED: Document = {"one": {"b": entry(2)}, "two": {"a": entry(4)}}
LEFT = {"one": {"a": entry(1)}, 'quoted "last_used": "x"': {"a": entry(3)}}


def test_what_is_doomed_goes_and_rooms_left_empty_with_it(store: Store) -> None:
    assert store.drop(DOOMED) == 2
    assert read(store) == LEFT
    assert Path(store.path).read_bytes() == document.dump(LEFT)


def test_nothing_doomed_changes_nothing(store: Store) -> None:
    assert store.drop({}) == 0
    assert read(store) == MAPPINGS


def test_another_layout_is_read_too(store: Store) -> None:
    Path(store.path).write_text(json.dumps(MAPPINGS))
    assert store.drop(DOOMED) == 2
    assert read(store) == LEFT


def test_fields_of_others_are_not_taken_for_times_of_use(store: Store) -> None:
    strange = {**entry(3), "note": {"last_used": "x"}}
    Path(store.path).write_bytes(document.dump({**MAPPINGS, "strange": {"a": strange}}))
    assert store.drop(DOOMED) == 2
    assert read(store) == {**LEFT, "strange": {"a": strange}}


def test_a_store_that_is_not_there_has_nothing_to_drop(tmp_path: Path) -> None:
    assert Store(str(tmp_path)).drop(DOOMED) == 0
    assert not list(tmp_path.iterdir())


def test_a_mapping_used_meanwhile_stays(store: Store) -> None:
    used = {**entry(4), "last_used": LONG_AGO.replace("2025", "2026")}
    Path(store.path).write_bytes(document.dump({**MAPPINGS, "two": {"a": used}}))
    assert store.drop(DOOMED) == 1
    assert read(store) == {**LEFT, "two": {"a": used}}


def test_another_mapping_used_meanwhile_keeps_its_new_time(store: Store) -> None:
    used = {**entry(3), "last_used": LONG_AGO.replace("2025", "2026")}
    name = 'quoted "last_used": "x"'
    Path(store.path).write_bytes(document.dump({**MAPPINGS, name: {"a": used}}))
    assert store.drop(DOOMED) == 2
    assert read(store) == {**LEFT, name: {"a": used}}


def test_a_mapping_added_meanwhile_stays(store: Store) -> None:
    Path(store.path).write_bytes(document.dump({**MAPPINGS, "new": {"a": entry(9)}}))
    assert store.drop(DOOMED) == 2
    assert read(store) == {**LEFT, "new": {"a": entry(9)}}


def test_a_mapping_that_moved_on_meanwhile_stays(store: Store) -> None:
    moved = {**entry(4), "uuid": entry(5)["uuid"]}
    Path(store.path).write_bytes(document.dump({**MAPPINGS, "two": {"a": moved}}))
    assert store.drop(DOOMED) == 1
    assert read(store) == {**LEFT, "two": {"a": moved}}


def test_a_damaged_store_is_repaired_on_the_way(store: Store) -> None:
    path = Path(store.path)
    path.write_bytes(locked_file.TORN + path.read_bytes()[1:])
    path.with_name("sessions.json.bak").write_bytes(document.dump(MAPPINGS))
    assert store.drop(DOOMED) == 2
    assert read(store) == LEFT
