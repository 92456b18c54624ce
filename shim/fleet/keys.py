"""The file of keys with which a fleet's conversations are encrypted: one a line, the first one
writes.

A key is 64 hexadecimal digits. All of a file's keys read, so that what was encrypted before the
first one was put in front of the others can be read.
"""

from __future__ import annotations

import hmac
import os
import secrets
import stat
from dataclasses import dataclass

from shim.base import files
from shim.base.messages import Failure
from shim.base.plain_text import shell_word
from shim.fleet.backend import Unavailable

_BYTES = 32
_LARGEST = 1 << 16
_COMMENT = "#"
_HEAD = "# A key of claude-shim's fleet: who has it can read all conversations that it encrypts.\n"


@dataclass(frozen=True)
class Key:
    """A key: what it is known by, and the secrets that are made of it, one for each use."""

    name: bytes
    """Four bytes, which tell nothing of the rest."""
    sealing: bytes
    naming: bytes


def read(path: str) -> tuple[Key, ...]:
    """The keys of a file, which nobody else can read. Raises Unavailable."""
    try:
        with open(path, encoding="ascii") as file:
            status = os.fstat(file.fileno())
            lines = file.read(_LARGEST).splitlines()
    except (OSError, ValueError) as problem:
        raise Unavailable(f"{path}, which NSED_FLEET_KEY_FILE names, cannot be read") from problem
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise Unavailable(
            f"{path}, which NSED_FLEET_KEY_FILE names, is open to others:"
            f" `chmod go= {shell_word(path)}`"
        )
    keys = tuple(_key(path, line) for line in lines if line and not line.startswith(_COMMENT))
    if not keys:
        raise Unavailable(f"{path}, which NSED_FLEET_KEY_FILE names, holds no key")
    return keys


def look(path: str) -> object:
    """What changes where the file of keys does. Never raises."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode


def make(path: str) -> None:
    """Make a file with a new key, for this user alone. Raises Failure where there is one."""
    try:
        files.write_new(path, f"{_HEAD}{secrets.token_hex(_BYTES)}\n".encode())
    except FileExistsError as problem:
        raise Failure(f"{path} is there already, and is left as it is") from problem
    except OSError as problem:
        raise Failure(f"{path}: {problem.strerror}") from problem


def _key(path: str, line: str) -> Key:
    try:
        secret = bytes.fromhex(line)
    except ValueError:
        secret = b""
    if len(secret) != _BYTES:
        raise Unavailable(f"{path}, which NSED_FLEET_KEY_FILE names, has a line that is no key")
    name, sealing, naming = (
        hmac.digest(secret, use, "sha256") for use in (b"name", b"sealing", b"naming")
    )
    return Key(name[:4], sealing, naming)
