"""The pair (room, agent), and the session ids that Claude Code knows conversations by."""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Final

# Of a call with a room and without an agent.
DEFAULT_AGENT: "Final" = "claude"

# RFC 4122, appendix C: the namespace of names that are URLs.
_URL_NAMESPACE = bytes.fromhex("6ba7b8119dad11d180b400c04fd430c8")
_HEX_DIGITS = "0123456789abcdefABCDEF"


class SessionKey:
    """The pair (room, agent), as text and as the bytes the environment carries.

    The text is the same whatever the locale, and names that are not UTF-8 have one too.
    """

    __slots__ = ("agent", "agent_bytes", "room", "room_bytes")

    def __init__(self, room: bytes, agent: bytes) -> None:
        self.room_bytes = room
        self.agent_bytes = agent
        self.room = _text(room)
        self.agent = _text(agent)

    def __str__(self) -> str:
        return f"room {self.room!r}, agent {self.agent!r}"


def stored_key(room: str, agent: str) -> SessionKey:
    """The session key of a room and agent as the store has them."""
    # JSON can hold half a character; NSED reads and writes it as `?`.
    return SessionKey(room.encode("utf-8", "replace"), agent.encode("utf-8", "replace"))


def named_key(environ: "Mapping[bytes, bytes]") -> SessionKey | None:
    """The session key that a process's variables name; a claude has them from the wrapper."""
    room = environ.get(b"NSED_ROOM_ID") or environ.get(b"NSED_SESSION_ID") or b""
    agent = environ.get(b"NSED_AGENT_NAME")
    return SessionKey(room, agent or DEFAULT_AGENT.encode()) if room or agent else None


def derive(key: SessionKey) -> str:
    """The session id of a key that has no mapping: the same that NSED derives.

    A UUIDv5 in the URL namespace of `nsed://agent/{agent}/{room}`, or `nsed://agent/{agent}` for
    the empty room.
    """
    name = f"nsed://agent/{key.agent}/{key.room}" if key.room else f"nsed://agent/{key.agent}"
    return _uuid(sha1(_URL_NAMESPACE + name.encode())[:16], version=5)


def sha1(data: bytes) -> bytes:
    """The SHA-1 digest of data; used for names, not for secrets."""
    try:
        from _sha1 import sha1  # 0.2 ms where hashlib takes 3.5 (help facts, "Python")
    except ImportError:
        from hashlib import sha1

    digest: bytes = sha1(data).digest()
    return digest


def new_session_id() -> str:
    """A random session id: a UUIDv4."""
    return _uuid(posix.urandom(16), version=4)


def is_session_id(text: str) -> bool:
    """Whether the text is a UUID in its usual form, of any version: what claude accepts."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and not text.replace("-", "").strip(
        _HEX_DIGITS
    )


def _text(name: bytes) -> str:
    # Decoded as UTF-8 whatever the locale, so that a name is one key everywhere. JSON can't hold
    # a byte that is not UTF-8 (serde refuses lone surrogates): it stands as U+FFFD and its value.
    text = name.decode("utf-8", "surrogateescape")
    if text.isascii():
        return text
    return "".join(
        f"\ufffd{ord(char) - 0xDC00:02x}" if "\udc80" <= char <= "\udcff" else char for char in text
    )


def _uuid(random: bytes, version: int) -> str:
    octets = bytearray(random)
    octets[6] = octets[6] & 0x0F | version << 4
    octets[8] = octets[8] & 0x3F | 0x80
    digits = octets.hex()
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
