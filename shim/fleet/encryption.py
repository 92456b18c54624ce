"""What leaves this host for a fleet's server: open as it is, or encrypted with keys of the fleet.

Sealed, the server has no text and no names: a record's content, what it says of its holder and its
files are AES-256-GCM, bound to the subject and to the record that it follows. What would be a name
is a keyed hash, behind what its key is known by. An encrypted record is a mark, what its key is
known by, the sequence that it follows, a nonce, and the rest.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from typing import TYPE_CHECKING, Protocol

from shim.fleet import extra, keys
from shim.fleet.backend import Unavailable
from shim.fleet.records import Hostile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_MARK = b"\x00sealed 1\n"
_KEY = slice(len(_MARK), len(_MARK) + 4)
_FOLLOWS = slice(_KEY.stop, _KEY.stop + 8)
_NONCE = slice(_FOLLOWS.stop, _FOLLOWS.stop + 12)
_ANY_VERSION = b"\x00sealed "
_PLAIN = re.compile(r"[A-Za-z0-9-]+")


class Cipher(Protocol):
    """How names and contents stand on the server; `writes_with` is what its key is known by."""

    writes_with: str

    def names(self, name: str) -> Sequence[str]:
        """What a conversation or room may be called there; the first is what a new one gets."""

    def encrypt(self, content: bytes, subject: str, follows: int) -> bytes:
        """A message's payload."""

    def decrypt(
        self, payload: bytes, subject: str, follows: int | None
    ) -> tuple[bytes, int | None]:
        """The content of a payload, and the sequence that it is proven to follow.

        `follows` is the one that its header names. Raises Unavailable where it takes a key that is
        not here, Hostile where it was made by nobody who has one.
        """


class PlaintextCipher:
    """Everything as it is."""

    writes_with = ""

    def names(self, name: str) -> Sequence[str]:
        """The name, where a subject can be called so, as a session id can; else its hash."""
        is_plain = _PLAIN.fullmatch(name)
        return (name if is_plain else hashlib.sha256(_encoded(name)).hexdigest(),)

    def encrypt(self, content: bytes, subject: str, follows: int) -> bytes:
        """The content."""
        return content

    def decrypt(
        self, payload: bytes, subject: str, follows: int | None
    ) -> tuple[bytes, int | None]:
        """The payload."""
        if payload.startswith(_ANY_VERSION):
            raise Unavailable(
                "the conversations of this fleet are encrypted: name the file with their key in"
                " NSED_FLEET_KEY_FILE"
            )
        return payload, follows


class AesGcmCipher:
    """Everything encrypted with the keys of a file, of which the first one writes."""

    def __init__(self, path: str) -> None:
        """Read the keys. Raises Unavailable."""
        self._path = path
        self._keys = keys.read(path)
        self.writes_with = self._keys[0].name.hex()
        self._ciphers = {key.name: _cipher(key) for key in self._keys}

    def names(self, name: str) -> Sequence[str]:
        """A keyed hash of the name, by each key."""
        return [
            f"{key.name.hex()}-{hmac.digest(key.naming, _encoded(name), 'sha256').hex()}"
            for key in self._keys
        ]

    def encrypt(self, content: bytes, subject: str, follows: int) -> bytes:
        """The content, encrypted to its place by the first key."""
        key, nonce = self._keys[0], os.urandom(12)
        place = _MARK + key.name + follows.to_bytes(8, "big")
        encrypted = self._ciphers[key.name].encrypt(nonce, content, place + subject.encode())
        return place + nonce + encrypted

    def decrypt(
        self, payload: bytes, subject: str, follows: int | None
    ) -> tuple[bytes, int | None]:
        """The content of a payload, which is proven to have been encrypted for its place."""
        from cryptography.exceptions import InvalidTag

        if not payload.startswith(_ANY_VERSION):
            raise Unavailable(
                "the conversations of this fleet are open, and NSED_FLEET_KEY_FILE encrypts: unset"
                " it, or begin an encrypted fleet elsewhere"
            )
        if not payload.startswith(_MARK):
            raise Unavailable(
                "the conversations of this fleet are encrypted by a newer claude-shim:"
                " update it here"
            )
        cipher = self._ciphers.get(payload[_KEY])
        if cipher is None:
            raise Unavailable(
                f"the conversations of this fleet are encrypted with a key that {self._path} lacks"
            )
        place = payload[: _NONCE.start]
        try:
            content = cipher.decrypt(
                payload[_NONCE], payload[_NONCE.stop :], place + subject.encode()
            )
        except (InvalidTag, ValueError) as problem:
            raise Hostile("a record that was not encrypted for its place") from problem
        return content, int.from_bytes(payload[_FOLLOWS], "big")


def code(path: str) -> Cipher:
    """How a fleet's conversations are encrypted with a file of keys; an empty path is not at all.

    Raises Unavailable.
    """
    return AesGcmCipher(path) if path else PlaintextCipher()


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _cipher(key: keys.Key) -> AESGCM:
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError as problem:
        raise Unavailable(
            f"NSED_FLEET_KEY_FILE takes the package cryptography: `{extra.how_to_add()}`"
        ) from problem
    return AESGCM(key.sealing)
