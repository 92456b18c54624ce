"""Accounts of NATS, as its tool `nsc` makes them: for a server's configuration, and credentials."""

from __future__ import annotations

import base64
import json
import os
import time
from typing import TYPE_CHECKING, Any

import nkeys

if TYPE_CHECKING:
    from pathlib import Path

_UNLIMITED = dict.fromkeys(
    ("subs", "data", "payload", "imports", "exports", "conn", "leaf"), -1
) | {"wildcards": True}
_STORAGE = dict.fromkeys(("mem_storage", "disk_storage", "streams", "consumer"), -1)
_SYSTEM = "system"
_CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


class Accounts:
    """Accounts of one operator."""

    def __init__(self, *names: str) -> None:
        self._operator = _pair(nkeys.PREFIX_BYTE_OPERATOR)
        self._accounts = {name: _pair(nkeys.PREFIX_BYTE_ACCOUNT) for name in (*names, _SYSTEM)}

    @property
    def configuration(self) -> str:
        """What a server of theirs has in its configuration."""
        known = ", ".join(
            f"{_id(pair)}: {self._jwt(name)}" for name, pair in self._accounts.items()
        )
        operator = _jwt(self._operator, self._operator, "operator", type="operator")
        system = _id(self._accounts[_SYSTEM])
        return (
            f"operator: {operator}\nsystem_account: {system}\n"
            f"resolver: MEMORY\nresolver_preload: {{ {known} }}\n"
        )

    def _jwt(self, name: str) -> str:
        # The server's own account may not store anything.
        limits = _UNLIMITED if name == _SYSTEM else _UNLIMITED | _STORAGE
        return _jwt(self._operator, self._accounts[name], name, type="account", limits=limits)

    def write(self, account: str, path: Path) -> Path:
        """Write a file with the credentials of a new user of an account."""
        user = _pair(nkeys.PREFIX_BYTE_USER)
        limits = dict.fromkeys(("subs", "data", "payload"), -1)
        jwt = _jwt(self._accounts[account], user, "user", type="user", **limits)
        path.write_text(_CREDENTIALS.format(jwt=jwt, seed=user.seed.decode()))
        path.chmod(0o600)
        return path


def _pair(prefix: int) -> Any:
    return nkeys.from_seed(bytearray(nkeys.encode_seed(os.urandom(32), prefix)))


def _id(pair: Any) -> str:
    return str(pair.public_key.decode())


def _jwt(issuer: Any, subject: Any, name: str, **claims: Any) -> str:
    """A claim about a subject, signed by the issuer."""
    payload = {
        "jti": os.urandom(8).hex(),
        "iat": int(time.time()),
        "iss": _id(issuer),
        "sub": _id(subject),
        "name": name,
        "nats": {"version": 2, **claims},
    }
    signed = f"{_part({'typ': 'JWT', 'alg': 'ed25519-nkey'})}.{_part(payload)}"
    return f"{signed}.{_encoded(issuer.sign(signed.encode()))}"


def _part(value: dict[str, Any]) -> str:
    return _encoded(json.dumps(value).encode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
