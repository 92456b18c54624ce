"""The store's quick ways agree with a parse, whatever the file looks like."""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shim.base import times
from shim.base.stamps import nanoseconds
from shim.store import document, layout
from shim.store.layout import NotCanonical
from shim.store.store import Store

Room = tuple[str, list[tuple[str, str, str]]]

ODD_NAMES = [
    *(
        "",
        "a",
        "room",
        "claude",
        "uuid",
        "last_used",
        '"',
        "\\",
        '\\"',
        "\\u0041",
        "a\nb",
        "}",
        "{}",
    ),
    *(
        "\n  }",
        '"a": {',
        "é",
        "e\u0301",
        "日本",
        "🙂",
        "\x00",
        "\x1f",
        "\x7f",
        "\x08",
        "\u2028",
        "/",
    ),
    *("oc-ses_1", "oc-ses_11", "A" * 300),
]
names = st.one_of(st.sampled_from(ODD_NAMES), st.text(st.characters(codec="utf-8"), max_size=8))
session_ids = st.one_of(st.uuids().map(str), st.sampled_from(ODD_NAMES))
stamps = st.builds(
    lambda fraction, zone: f"2026-01-02T03:04:05{fraction}{zone}",
    st.sampled_from(["", ".1", ".123", ".123456", ".123456789", ".000000000"]),
    st.sampled_from(["Z", "+00:00", "-00:00", "+05:30", "-08:00"]),
)
entries = st.tuples(names, session_ids, stamps)
rooms = st.lists(st.tuples(names, st.lists(entries, max_size=4)), max_size=4)


def write_pretty(rooms: list[Room], ensure_ascii: bool = False, indent: str = "  ") -> str:
    """What json.dumps writes, but with every room and agent, even those of one name."""

    def quote(name: str) -> str:
        return json.dumps(name, ensure_ascii=ensure_ascii)

    def block(depth: int, items: list[str]) -> str:
        margin = "\n" + indent * (depth + 1)
        inner = ("," + margin).join(items)
        return f"{{{margin}{inner}\n{indent * depth}}}" if items else "{}"

    return block(
        0,
        [
            f"{quote(room)}: "
            + block(
                1,
                [
                    f"{quote(agent)}: "
                    + block(2, [f'"uuid": {quote(uuid)}', f'"last_used": {quote(stamp)}'])
                    for agent, uuid, stamp in agents
                ],
            )
            for room, agents in rooms
        ],
    )


LAYOUTS = {
    "canonical": write_pretty,
    "escaped": lambda rooms: write_pretty(rooms, ensure_ascii=True),
    "one space": lambda rooms: write_pretty(rooms, indent=" "),
    "four spaces": lambda rooms: write_pretty(rooms, indent="    "),
    "tabs": lambda rooms: write_pretty(rooms, indent="\t"),
    "line end at the end": lambda rooms: write_pretty(rooms) + "\n",
    "many line ends": lambda rooms: write_pretty(rooms) + "\n" * 40,
    "CRLF": lambda rooms: write_pretty(rooms).replace("\n", "\r\n"),
    "byte order mark": lambda rooms: "\ufeff" + write_pretty(rooms),
    "one line": lambda rooms: write_pretty(rooms).replace("\n", " "),
    "solidus escaped": lambda rooms: write_pretty(rooms).replace("/", "\\/"),
    "a room at the margin": lambda rooms: write_pretty(rooms).replace('\n  "', '\n"', 1),
    "an agent at a room's place": lambda rooms: write_pretty(rooms).replace('\n    "', '\n  "', 1),
}


@contextmanager
def store_holding(data: bytes) -> Iterator[Store]:
    with tempfile.TemporaryDirectory() as where:
        Path(where, "sessions.json").write_bytes(data)
        Path(where, "sessions.json").chmod(0o600)
        yield Store(where)


def parsed(data: bytes) -> dict[str, dict[str, dict[str, Any]]] | None:
    try:
        return document.parse(data) if data.strip() else {}
    except document.InvalidDocument:
        return None


def key_in(rooms: list[Room], data: st.DataObject) -> tuple[str, str]:
    """A room and agent, mostly ones that are there."""
    room = data.draw(st.sampled_from([*(room for room, _ in rooms), "claude", "\\"]))
    agents = [agent for name, agents in rooms if name == room for agent, *_ in agents]
    return room, data.draw(st.sampled_from([*agents, "claude", "é"]))


@settings(max_examples=500, deadline=None)
@given(rooms=rooms, layout=st.sampled_from(sorted(LAYOUTS)), data=st.data())
@example(rooms=[("r", [("a", "x", "2026-01-02T03:04:05Z")])], layout="one line", data=None)
def test_recalling_and_recording_do_what_parsing_and_writing_would(
    rooms: list[Room], layout: str, data: st.DataObject | None
) -> None:
    content = LAYOUTS[layout](rooms).encode()
    room, agent = key_in(rooms, data) if data else ("r", "a")
    with store_holding(content) as store:
        model = parsed(content)
        assert model is not None
        before = nanoseconds(times.now())

        assert store.recall(room, agent) == model.get(room, {}).get(agent, {}).get("uuid")
        after_recall = parsed(Path(store.path).read_bytes())
        assert without_times(after_recall, room, agent) == without_times(model, room, agent)
        if agent in model.get(room, {}):
            assert was_used_since(before, after_recall[room][agent])

        store.record(room, agent, "new")
        model.setdefault(room, {}).setdefault(agent, {})["uuid"] = "new"
        after_record = parsed(Path(store.path).read_bytes())
        assert without_times(after_record, room, agent) == without_times(model, room, agent)
        assert was_used_since(before, after_record[room][agent])
        assert not list(Path(store.directory).glob("*corrupt*"))


def without_times(mappings: Any, room: str, agent: str) -> Any:
    """The mappings without the one time that may differ."""
    mappings = json.loads(json.dumps(mappings))
    mappings.get(room, {}).get(agent, {}).pop("last_used", None)
    return {name: entries for name, entries in mappings.items() if entries or name != room}


def was_used_since(before: int | None, entry: dict[str, Any]) -> bool:
    used = nanoseconds(entry["last_used"])
    # A timestamp without a fraction is that much earlier.
    return used is not None and before is not None and used >= before - 1_000_000_000


@settings(max_examples=300, deadline=None)
@given(rooms=rooms.filter(bool), data=st.data())
def test_a_hand_edit_anywhere_never_makes_the_quick_way_disagree_with_a_parse(
    rooms: list[Room], data: st.DataObject
) -> None:
    text = write_pretty(rooms)
    room, agent = key_in(rooms, data)
    at = data.draw(st.integers(0, len(text)))
    edit = data.draw(st.sampled_from(['"', "{", "}", ",", ":", "\n", " ", "\\", "x", ""]))
    content = (text[:at] + edit + text[at + data.draw(st.integers(0, 2)) :]).encode()
    model = parsed(content)
    if model is None:
        return
    with store_holding(content) as store:
        assert store.recall(room, agent) == model.get(room, {}).get(agent, {}).get("uuid")


few_names = st.sampled_from(["", "a", "claude", "uuid", "\\"])
alike = st.lists(
    st.tuples(few_names, st.lists(st.tuples(few_names, few_names, stamps))), min_size=1
)


@settings(max_examples=300, deadline=None)
@given(rooms=alike, data=st.data())
def test_moved_joined_and_doubled_lines_never_make_the_quick_way_disagree_with_a_parse(
    rooms: list[Room], data: st.DataObject
) -> None:
    lines = write_pretty(rooms).split("\n")
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        edit = data.draw(st.sampled_from(["move", "join", "double", "space"]))
        if edit == "move":
            lines[at] = " " * data.draw(st.integers(0, 6)) + lines[at].lstrip()
        elif edit == "join":
            lines[at : at + 2] = [lines[at] + "".join(lines[at + 1 : at + 2]).lstrip()]
        elif edit == "double":
            lines.insert(data.draw(st.integers(0, len(lines))), lines[at])
        else:
            lines[at] = lines[at].replace(": ", " : ")
    content = "\n".join(lines).encode()
    model = parsed(content)
    if model is None:
        return
    room, agent = key_in(rooms, data)
    with store_holding(content) as store:
        assert store.recall(room, agent) == model.get(room, {}).get(agent, {}).get("uuid")


def test_an_end_of_a_room_that_was_moved_is_seen(tmp_path: Path) -> None:
    stamp = "2026-01-02T03:04:05Z"
    text = write_pretty([("r", [("a", "id-a", stamp), ("b", "id-b", stamp)])])
    path = tmp_path / "sessions.json"
    path.write_text(text.replace("    },", "  },", 1))
    with path.open("rb") as file, pytest.raises(NotCanonical):
        layout.find(file.fileno(), b'"r"', b'"b"')


@settings(max_examples=300, deadline=None)
@given(rooms=rooms)
def test_what_is_inserted_without_a_parse_is_what_a_parse_would_write(rooms: list[Room]) -> None:
    model: dict[str, Any] = {}
    for room, agents in rooms:
        for agent, uuid, stamp in agents:
            model.setdefault(room, {})[agent] = {"uuid": uuid, "last_used": stamp}
    content = document.dump(model)
    assert content.decode() == json.dumps(model, indent=2, ensure_ascii=False)
    now = times.timestamp(time.time_ns())
    try:
        content = layout.inserted(
            content, layout.quote("new"), layout.quote("agent"), b"an-id", now
        )
    except NotCanonical:
        pytest.fail("the canonical layout was not taken for one")
    model.setdefault("new", {})["agent"] = {"uuid": "an-id", "last_used": now.decode()}
    assert document.parse(content) == model


def test_a_known_key_of_a_canonical_file_is_found_without_a_parse(tmp_path: Path) -> None:
    model = {
        f"room-{number}": {"claude": {"uuid": f"id-{number}", "last_used": times.now()}}
        for number in range(5000)
    }
    path = tmp_path / "sessions.json"
    path.write_bytes(document.dump(model))
    with path.open("rb") as file:
        entry = layout.find(file.fileno(), b'"room-4321"', b'"claude"')
    assert entry is not None
    assert entry.session_id == "id-4321"


def test_a_room_named_as_its_agents_and_ids_is_found_without_a_parse(tmp_path: Path) -> None:
    entry = {"uuid": "claude", "last_used": times.now()}
    path = tmp_path / "sessions.json"
    path.write_bytes(document.dump({"other": {"claude": entry}, "claude": {"claude": entry}}))
    with path.open("rb") as file:
        found = layout.find(file.fileno(), b'"claude"', b'"claude"')
    assert found is not None
    assert found.stamp_at > path.stat().st_size / 2


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_written_as_json_writes_it(name: str) -> None:
    assert layout.quote(name).decode() == json.dumps(name, ensure_ascii=False)


@pytest.mark.parametrize(
    ("stamp", "expected"),
    [
        (b"2000-01-01T00:00:00Z", b"2026-11-22T16:26:24Z"),
        (b"2000-01-01T00:00:00.123Z", b"2026-11-22T16:26:24.987Z"),
        (b"2000-01-01T00:00:00.123456+02:00", b"2026-11-22T16:26:24.987654+00:00"),
        (b"2000-01-01T00:00:00.123456789Z", b"2026-11-22T16:26:24.987654321Z"),
    ],
)
def test_a_renewed_timestamp_has_the_form_of_the_old_one(stamp: bytes, expected: bytes) -> None:
    assert layout.renewed(stamp, 1_795_364_784_987_654_321) == expected


@pytest.mark.parametrize(
    "stamp",
    [
        *(b"", b"Z", b"yesterday", b"2026-01-02", b"2026-01-02T03:04:05"),
        *(
            b"2026-01-02T03:04:05.Z",
            b"2026-01-02T03:04:05.1234567890Z",
            b"2026-01-02T03:04:05+0000",
        ),
    ],
)
def test_what_is_no_timestamp_is_not_renewed(stamp: bytes) -> None:
    with pytest.raises(NotCanonical):
        layout.renewed(stamp, 0)


@settings(max_examples=300, deadline=None)
@given(rooms=rooms.filter(bool), data=st.data())
def test_a_damaged_document_is_never_added_to_without_a_parse(
    rooms: list[Room], data: st.DataObject
) -> None:
    content = bytearray(write_pretty(rooms).encode())
    at = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content[at:]
    with contextlib.suppress(NotCanonical):
        added = layout.inserted(bytes(content), b'"new"', b'"agent"', b"an-id", b"a time")
        assert "new" in json.loads(added)
