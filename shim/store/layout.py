r"""sessions.json in its canonical layout: finding, touching and adding entries without a parse.

The layout is what serde_json's `to_string_pretty` and Python's `json.dumps(indent=2,
ensure_ascii=False)` both write:

    {
      "ROOM": {
        "AGENT": {
          "uuid": "…",
          "last_used": "2026-01-02T03:04:05.123456789Z"
        }
      }
    }

The functions rely on this: a line end never stands inside a string (both escape it), so that two
spaces behind one mean a room and four an agent; a name has only one spelling, because both escape
`"`, `\` and what is below U+0020 in the same way and nothing else; an empty room is `{}`. Anything
else raises NotCanonical, and the caller parses.
"""

import posix
import time

from shim.base.messages import explain
from shim.base.times import timestamp

_CHUNK = 1 << 16
_LONGEST_ENTRY = 512
# Bytes in which the end of a document is looked for: line ends may stand behind it.
_TAIL = 1 << 12
_BLOCK = 1 << 12
_PAGE = 1 << 12
_ROOM_INDENT = b"\n  "
_AGENT_INDENT = b"\n    "
_ID = b'      "uuid": "'
_STAMP = b'      "last_used": "'
_AGENT_OPEN = b": {\n" + _ID
_BETWEEN = b'",\n' + _STAMP
_ROOM_END = b"\n  }"
_CLOSING = b"\n}"
_ENTRY_END = b'"\n    }'
# What stands before the name of a room but the first one, and of an agent.
_BEFORE_ROOM = (b"\n  }," + _ROOM_INDENT, b": {}," + _ROOM_INDENT)
_BEFORE_AGENT = (b": {" + _AGENT_INDENT, b"\n    }," + _AGENT_INDENT)

_SHORT_ESCAPES = {0x08: "\\b", 0x09: "\\t", 0x0A: "\\n", 0x0C: "\\f", 0x0D: "\\r"}
_CONTROLS = bytes(range(0x0A)) + bytes(range(0x0B, 0x20))
_DIGITS_AS_ZERO = bytes.maketrans(b"123456789", b"000000000")
_LONGEST_FRACTION = b".000000000"


class NotCanonical(Exception):
    """The document has another layout, or is damaged: only a parse can say which."""


class Entry:
    """One mapping, and where in the file its room's name and its session id start."""

    __slots__ = ("id_at", "room_at", "session_id", "stamp")

    def __init__(self, room_at: int, id_at: int, session_id: str, stamp: bytes) -> None:
        self.room_at = room_at
        self.id_at = id_at
        self.session_id = session_id
        self.stamp = stamp

    @property
    def stamp_at(self) -> int:
        """Where its timestamp starts."""
        return self.id_at + len(self.session_id.encode()) + len(_BETWEEN)

    @property
    def is_over_two_blocks(self) -> bool:
        """Whether its session id crosses a block of the disk: a power cut may keep one of two."""
        return self.id_at // _BLOCK != (self.id_at + len(self.session_id.encode()) - 1) // _BLOCK

    def fields(self) -> dict[str, str]:
        """What the document has of it."""
        return {"uuid": self.session_id, "last_used": self.stamp.decode("ascii", "replace")}


def quote(name: str) -> bytes:
    """The name as the JSON string that serde and Python write."""
    if '"' in name or "\\" in name or not name.isprintable():
        name = name.translate(_escapes())
    return f'"{name}"'.encode("utf-8", "replace")


def renewed(stamp: bytes, nanoseconds: int) -> bytes:
    """The time in the form, and so the width, of another RFC 3339 timestamp, but always in UTC.

    Raises NotCanonical if the other one is no such timestamp.
    """
    shape = stamp.translate(_DIGITS_AS_ZERO)
    zone = b"Z" if shape.endswith(b"Z") else b"+00:00"
    fraction = shape[19 : -len(zone)]
    if (
        shape[:19] != b"0000-00-00T00:00:00"
        or shape[19 + len(fraction) :] not in (b"Z", b"+00:00", b"-00:00")
        or fraction == b"."
        or not _LONGEST_FRACTION.startswith(fraction)
    ):
        raise NotCanonical
    now = timestamp(nanoseconds)
    return now[: len(stamp) - len(zone)] + zone


def find(file: int, room: bytes, agent: bytes, place: int | None = None) -> Entry | None:
    """The entry of a room and agent, given as `quote` writes them; None if there is none.

    Where the room stands at a `place`, it is not looked for. Raises NotCanonical if only a parse
    can tell.
    """
    is_there = place is not None and _stands_at(file, room, place)
    room_at = place if is_there else find_room(file, room)
    return None if room_at is None else find_in_room(file, room_at, room, agent)


def find_room(file: int, room: bytes) -> int | None:
    """Where the name of a room stands; None if there is none.

    The file is read in pieces from its end: of two rooms with one name the last one counts, and
    what was added last is used most. Raises NotCanonical if only a parse can tell.
    """
    size = posix.fstat(file).st_size
    if _is_empty_map(file, size):
        return None
    _require_ends(file, size)
    return _last_room(file, room, size)


def find_in_room(file: int, room_at: int, room: bytes, agent: bytes) -> Entry | None:
    """The entry of an agent in the room whose name stands at a position. Raises NotCanonical."""
    start = room_at + len(room)
    text = _text_of_room(file, room, start, posix.fstat(file).st_size)
    opening = _AGENT_INDENT + agent + _AGENT_OPEN
    at = text.rfind(opening)
    return None if at < 0 else _entry(text, at + len(opening), room_at, start)


def end(file: int) -> int:
    """Where a document ends, line ends behind it left out. Raises NotCanonical."""
    size = posix.fstat(file).st_size
    start = max(0, size - _TAIL)
    tail = posix.pread(file, _TAIL, start).rstrip()
    if not tail and start == 0:
        return 0
    if not tail.endswith((_CLOSING, b"{}")):
        raise NotCanonical
    return start + len(tail)


def last_ids(file: int, document_end: int) -> list[bytes]:
    """What tells a document from one that another program wrote: its last lines but their times."""
    start = max(0, document_end - _LONGEST_ENTRY)
    lines = posix.pread(file, document_end - start, start).split(b"\n")
    return [line for line in lines[1:] if not line.startswith(_STAMP)]


def appended(
    room: bytes, agent: bytes, session_id: bytes, stamp: bytes, document_end: int
) -> tuple[bytes, int]:
    """The text that adds a room to a document which ends at a position, and where it goes.

    It goes over the last two bytes, and in an empty document over all.
    """
    if document_end <= len(b"{}"):
        return _first_room(room, agent, session_id, stamp), 0
    return _new_room(room, agent, session_id, stamp), document_end - len(_CLOSING)


def touch(file: int, entry: Entry) -> None:
    """Set an entry's time of use in place. Raises NotCanonical if what stands there is no time."""
    stamp = renewed(entry.stamp, time.time_ns())
    try:
        posix.pwrite(file, stamp, entry.stamp_at)
    except OSError as problem:
        explain(f"the time of use cannot be noted: {problem.strerror}")


def inserted(data: bytes, room: bytes, agent: bytes, session_id: bytes, stamp: bytes) -> bytes:
    """The whole document with an entry added that it does not have.

    Raises NotCanonical unless the whole document has the layout, so that no damage is copied.
    """
    data = data.rstrip()
    if data == b"{}":
        return _first_room(room, agent, session_id, stamp)
    _require_layout(data)
    opening = _ROOM_INDENT + room + b": {"
    at = data.rfind(opening)
    if at < 0:
        return data[: -len(_CLOSING)] + _new_room(room, agent, session_id, stamp)
    at += len(opening)
    entry = _new_entry(agent, session_id, stamp)
    if data.startswith(b"}", at):
        return b"".join((data[:at], entry, _ROOM_END, data[at + 1 :]))
    return b"".join((data[:at], entry, b",", data[at:]))


def _first_room(room: bytes, agent: bytes, session_id: bytes, stamp: bytes) -> bytes:
    """A document with one room and agent."""
    return b"{" + _new_room(room, agent, session_id, stamp)[1:]


def _new_room(room: bytes, agent: bytes, session_id: bytes, stamp: bytes) -> bytes:
    """A room with one agent, from the end of the room before it to the end of the document."""
    entry = _new_entry(agent, session_id, stamp)
    return b"".join((b",", _ROOM_INDENT, room, b": {", entry, _ROOM_END, _CLOSING))


def _new_entry(agent: bytes, session_id: bytes, stamp: bytes) -> bytes:
    return b"".join((_AGENT_INDENT, agent, _AGENT_OPEN, session_id, _BETWEEN, stamp, _ENTRY_END))


def _is_empty_map(file: int, size: int) -> bool:
    return size < 16 and posix.pread(file, size, 0).rstrip() in (b"", b"{}")


def _require_ends(file: int, size: int) -> None:
    tail = posix.pread(file, 16, max(0, size - 16)).rstrip()
    if posix.pread(file, 5, 0) != b'{\n  "' or not tail.endswith((b"\n  }\n}", b": {}\n}")):
        raise NotCanonical


def _stands_at(file: int, room: bytes, place: int) -> bool:
    try:
        return posix.pread(file, len(room), place) == room and _is_room(file, place, room)
    except NotCanonical:
        return False


def _last_room(file: int, room: bytes, size: int) -> int | None:
    """Where the name of the last room of this name stands, or None.

    Nothing before it matters: of two keys with one name, JSON's readers (NSED's and ours) take the
    last one. Behind it, the name must not have another spelling, or be a key in a place that only
    a parse can make sense of.
    """
    overlap = len(room) - 1
    # One buffer for all pieces: a new one for each is twice as slow.
    chunk = bytearray(min(_CHUNK, size) + overlap)
    escapes_are_canonical = False
    for at in reversed(range(0, size, _CHUNK)):
        length = posix.preadv(file, [chunk], at)
        if not escapes_are_canonical and chunk.find(b"\\", 0, length) >= 0:
            _require_canonical_escapes(posix.pread(file, size, 0))
            escapes_are_canonical = True
        # rfind is 1.5 to 4 times as fast as find in CPython 3.10 to 3.13.
        hit = chunk.rfind(room, 0, length)
        while hit >= 0:
            if _is_room(file, at + hit, room):
                return at + hit
            hit = chunk.rfind(room, 0, hit + overlap)
    return None


def _is_room(file: int, at: int, name: bytes) -> bool:
    """Whether the name at a position is that of a room, and not an agent's or a session id.

    Raises NotCanonical if it is anything else.
    """
    margin = min(at, len(_ID))
    around = posix.pread(file, margin + len(name) + 32, at - margin)
    before, after = around[:margin], around[margin + len(name) :]
    follows_room = before == b"{" + _ROOM_INDENT or before.endswith(_BEFORE_ROOM)
    if follows_room and after.startswith((b': {\n    "', b": {}")):
        return True
    is_agent = before.endswith(_BEFORE_AGENT) and after.startswith(_AGENT_OPEN)
    is_session_id = before == b"\n" + _ID[:-1] and after.startswith(_BETWEEN[1:])
    if is_agent or is_session_id:
        return False
    raise NotCanonical


def _text_of_room(file: int, room: bytes, start: int, size: int) -> bytes:
    """The text behind the name of a room, up to the room's end; empty if it has no agents.

    Raises NotCanonical if it does not have the layout: a missing end would make another room's
    agents this one's.
    """
    length = _PAGE
    text = posix.pread(file, length, start)
    if text.startswith(b": {}"):
        return b""
    while (end := text.find(_ROOM_END)) < 0:
        if start + length >= size:
            raise NotCanonical
        length *= 8
        text = posix.pread(file, length, start)
    _require_layout(b"".join((b"{", _ROOM_INDENT, room, text[:end], _ROOM_END, b"\n}")))
    return text[:end]


def _entry(text: bytes, at: int, room_at: int, offset: int) -> Entry:
    """The entry whose session id starts at a position of a text, at an offset of the file."""
    session_id, _, rest = text[at : at + _LONGEST_ENTRY].partition(_BETWEEN)
    stamp, closing, _ = rest.partition(_ENTRY_END)
    if not closing or b"\\" in session_id:
        raise NotCanonical
    return Entry(room_at, offset + at, session_id.decode(), stamp)


def _escapes() -> dict[int, str]:
    long = {code: f"\\u{code:04x}" for code in range(0x20)}
    return {**long, **_SHORT_ESCAPES, ord('"'): '\\"', ord("\\"): "\\\\"}


def _require_canonical_escapes(data: bytes) -> None:
    long_ones = {escape.encode() for escape in _escapes().values() if len(escape) == 6}
    at = data.find(b"\\")
    while at >= 0:
        kind = data[at + 1 : at + 2]
        width = 2
        if kind == b"u":
            width = 6
            if data[at : at + 6] not in long_ones:
                raise NotCanonical
        elif not kind or kind not in b'"\\bfnrt':
            raise NotCanonical
        at = data.find(b"\\", at + width)


def _require_layout(data: bytes) -> None:
    """Check that nothing but the layout's own text stands between the strings.

    It counts each piece of that text: if the counts agree with each other and with those of all
    quotes and line ends, there is nothing else. That is ten times as fast as reading the lines.
    """
    if len(data.translate(None, _CONTROLS)) != len(data):
        raise NotCanonical
    try:
        data.decode()
    except UnicodeDecodeError as problem:
        raise NotCanonical from problem
    if b"\\" in data:
        _require_canonical_escapes(data)
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    entries = data.count(b'"' + _AGENT_OPEN)
    to_agent = data.count(b'": {\n    "')
    to_next_agent = data.count(b'"\n    },\n    "')
    to_next_room = data.count(b'"\n    }\n  },\n  "')
    past_empty_room = data.count(b'": {},\n  "')
    ends_full = data.endswith(b'"\n    }\n  }\n}')
    onward = to_agent + to_next_agent + to_next_room + past_empty_room
    quotes = 2 + 8 * entries + 2 * onward
    line_ends = (4 if ends_full else 2) + 2 * entries + onward + to_next_agent + 2 * to_next_room
    if (
        not data.startswith(b'{\n  "')
        or not (ends_full or data.endswith(b'": {}\n}'))
        or data.count(_BETWEEN) != entries
        or to_agent != to_next_room + ends_full
        or to_next_agent != entries - to_agent
        or data.count(b'"') != quotes
        or data.count(b"\n") != line_ends
    ):
        raise NotCanonical
