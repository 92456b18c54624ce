"""Which host this is: a random id for this store, on this machine, since it was booted.

It is stored with what tells a store from a copy of it. Otherwise a cloned image or a copied home
directory would adopt the leases of the host that it was copied from.
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
    """This host, and the incarnation of its sync daemon that this process is."""

    host: str
    hostname: str
    incarnation: str
    directory: str = ""
    """Where it keeps what the next incarnation is to know; empty where there is none."""


@dataclass(frozen=True)
class _Fingerprint:
    """What differs between a store and a copy of it."""

    boot: str
    hostname: str
    device: int
    inode: int


def identify(store: str, directory: str) -> Host:
    """The host of a store; `directory` is where its id is stored. Raises OSError."""
    path = f"{directory}/host.json"
    fingerprint = _fingerprint(store)
    known = _read(path)
    if known is None or known[1] != fingerprint:
        known = secrets.token_hex(16), fingerprint
        content = {"host": known[0], **asdict(fingerprint)}
        files.replace(path, json.dumps(content).encode())
    return Host(known[0], fingerprint.hostname, secrets.token_hex(8), directory)


def _read(path: str) -> tuple[str, _Fingerprint] | None:
    try:
        with open(path, "rb") as file:
            content = json.load(file)
        return str(content.pop("host")), _Fingerprint(**content)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _fingerprint(store: str) -> _Fingerprint:
    status = os.stat(store)
    try:
        boot = _BOOT.read_text().strip()
    except OSError:
        boot = str(int(psutil.boot_time()))
    return _Fingerprint(boot, socket.gethostname(), status.st_dev, status.st_ino)
