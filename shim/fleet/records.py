"""The records of a conversation's log, to and from bytes.

A record is a JSON object; a `data` record adds a line end and a compressed body. Parsing refuses
what a hostile server or host could send: paths that lead out of the conversation's directory, and
bodies larger than a record may hold.
"""

from __future__ import annotations

import json
import secrets
import zlib
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

from shim.base.messages import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

CLAIM, RELEASE, DATA = "claim", "release", "data"
TRANSCRIPT = ""
"""The name of the transcript among a conversation's files."""
LARGEST = 512 << 10
"""Bytes of a record. nats-server's limit is a megabyte, headers included."""

VERSION = 1
"""The version of the records, and of everything else that the fleet stores."""

LONGEST_NAME = 255
"""Characters of any name but a conversation's."""

_LARGEST_BODY = 1 << 20
_PIECE = 448 << 10
_LARGEST_HEADER = 16 << 10
_LONGEST_TEXT = 1024
_DEEPEST = 8
_LARGEST_NUMBER = 1 << 53
# One of zlib's fast levels: half the time of its default, for a tenth more bytes.
_LEVEL = 3


class Hostile(ValueError):
    """Bytes that are no record, or no record that we could have written."""


class Newer(Failure):
    """A record that a newer claude-shim has written."""


@dataclass(frozen=True)
class LeaseHolder:
    """Who holds a conversation's lease: a host, an incarnation of its daemon, and a claude."""

    host: str
    hostname: str
    incarnation: str
    pid: int
    kind: str
    project: str = ""
    """Claude's name for the working directory on that host."""


_HOLDER_FIELDS = {each.name for each in fields(LeaseHolder)}


@dataclass(frozen=True)
class Record:
    """A record of the log. Each names its holder; the last one tells who holds the lease.

    A `data` record writes its body into a file at an offset and truncates the file behind it.
    Records with `is_continued` take effect together with the first one behind them that lacks it.
    `conversation` is the name of the log, which an encrypted subject does not show.
    """

    kind: str
    holder: LeaseHolder
    generation: int
    file: str = TRANSCRIPT
    offset: int = 0
    is_continued: bool = False
    body: bytes = b""
    conversation: str = ""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))

    def to_bytes(self) -> bytes:
        """The payload that is stored."""
        head: dict[str, Any] = {
            "version": VERSION,
            "kind": self.kind,
            "conversation": self.conversation,
            "holder": asdict(self.holder),
            "generation": self.generation,
            "nonce": self.nonce,
        }
        if self.kind != DATA:
            return json.dumps(head).encode()
        head |= {"file": self.file, "offset": self.offset, "goes_on": self.is_continued}
        return json.dumps(head).encode() + b"\n" + zlib.compress(self.body, _LEVEL)


def from_bytes(payload: bytes) -> Record:
    """Parse a payload; fields of its header that we do not know are ignored.

    Raises Hostile, Newer.
    """
    head, _, body = payload.partition(b"\n")
    if len(head) > _LARGEST_HEADER:
        raise Hostile("a header that is too large")
    try:
        found = json.loads(head)
        require_known(found["version"])
        kind = found["kind"]
        if kind not in (CLAIM, RELEASE, DATA):
            raise Hostile("a record of an unknown kind")
        holder = LeaseHolder(
            **{name: it for name, it in found["holder"].items() if name in _HOLDER_FIELDS}
        )
        common = (kind, holder, _number(found["generation"]))
        conversation = found.get("conversation", "")
        _require_text(*asdict(holder).values(), found["nonce"], conversation)
        if kind != DATA:
            return Record(*common, nonce=found["nonce"], conversation=conversation)
        return Record(
            *common,
            file=require_path(found["file"]),
            offset=_number(found["offset"]),
            is_continued=bool(found["goes_on"]),
            body=_decompressed(body),
            nonce=found["nonce"],
            conversation=conversation,
        )
    except (Hostile, Newer):
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as problem:
        raise Hostile(f"{type(problem).__name__}: {problem}") from problem


def require_known(version: object) -> None:
    """Make sure that this is our version. Raises Newer, Hostile."""
    if _number(version) > VERSION:
        raise Newer("a newer claude-shim has written to this fleet: update it here")
    if version != VERSION:
        raise Hostile("a record of a version that never was")


def pieces(body: bytes) -> Iterator[bytes]:
    """A body in pieces that each fit into a record, however badly they compress."""
    for at in range(0, len(body), _PIECE):
        yield body[at : at + _PIECE]


def require_path(name: object) -> str:
    """The name of a file, if it is the transcript's or a sidecar's. Raises Hostile."""
    if not isinstance(name, str):
        raise Hostile("a file name that is no string")
    if name == TRANSCRIPT:
        return name
    files = name.split("/")
    is_plain = all(part not in ("", ".", "..") and len(part) <= LONGEST_NAME for part in files)
    if not is_plain or "\0" in name or len(files) > _DEEPEST:
        raise Hostile(f"a file named {name[:LONGEST_NAME]!r}")
    return name


def _number(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST_NUMBER:
        raise Hostile("a number that is no number")
    return value


def _require_text(*values: object) -> None:
    for value in values:
        if not isinstance(value, (str, int)) or len(str(value)) > _LONGEST_TEXT:
            raise Hostile("a name that is no name")


def _decompressed(compressed: bytes) -> bytes:
    inflater = zlib.decompressobj()
    body = inflater.decompress(compressed, _LARGEST_BODY)
    if not inflater.eof or inflater.unused_data:
        raise Hostile("a body that is truncated or too large")
    return body
