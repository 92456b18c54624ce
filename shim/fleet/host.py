"""Which host this is: a random id, of this store on this machine since it was booted.

It is kept beside the store with what tells a copy from the original: a cloned image or a copied
home would otherwise adopt the leases of the one that it was copied from.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from shim.base import files

_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Host:
    """This host, and the life of its sync daemon that this process is."""

    host: str
    hostname: str
    incarnation: str


@dataclass(frozen=True)
class _Marks:
    """What differs between a store and a copy of it."""

    boot: str
    hostname: str
    device: int
    inode: int


def identify(store: str, directory: str) -> Host:
    """The host of a store, as `directory` remembers it. Raises OSError."""
    path = f"{directory}/host.json"
    marks = _marks(store)
    known = _known(path)
    if known is None or known[1] != marks:
        known = secrets.token_hex(16), marks
        content = {"host": known[0], **asdict(marks)}
        files.replace(path, json.dumps(content).encode())
    return Host(known[0], marks.hostname, secrets.token_hex(8))


def _known(path: str) -> tuple[str, _Marks] | None:
    try:
        with open(path, "rb") as file:
            content = json.load(file)
        return str(content.pop("host")), _Marks(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _marks(store: str) -> _Marks:
    status = os.stat(store)
    try:
        boot = _BOOT.read_text().strip()
    except OSError:
        boot = str(int(psutil.boot_time()))
    return _Marks(boot, socket.gethostname(), status.st_dev, status.st_ino)
