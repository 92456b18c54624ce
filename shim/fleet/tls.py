"""TLS with the servers: whom this host trusts, and by which certificate it is let in."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass

from shim.base import environment
from shim.fleet.backend import Unavailable


@dataclass(frozen=True)
class Files:
    """Paths of PEM files, each empty where there is none.

    `authority` has certificates that are trusted beside the system's, `certificate` this host's own
    with its key.
    """

    authority: str = ""
    certificate: str = ""


def files() -> Files:
    """Those that the environment names."""
    return Files(environment.get("NSED_FLEET_CA"), environment.get("NSED_FLEET_CERT"))


def context(of: Files) -> ssl.SSLContext | None:
    """How to speak TLS; None where nothing is said of it. Raises Unavailable."""
    if not of.authority and not of.certificate:
        return None
    made = ssl.create_default_context()
    if of.authority:
        _require_readable(of.authority, "NSED_FLEET_CA")
        try:
            made.load_verify_locations(of.authority)
        except (OSError, ValueError) as problem:
            raise Unavailable(
                f"{of.authority}, which NSED_FLEET_CA names, has no certificates ({problem})"
            ) from problem
    if of.certificate:
        _require_readable(of.certificate, "NSED_FLEET_CERT")
        try:
            made.load_cert_chain(of.certificate, password=_no_password)
        except (OSError, ValueError) as problem:
            raise Unavailable(
                f"{of.certificate}, which NSED_FLEET_CERT names, has no certificate with its key"
                f" ({problem})"
            ) from problem
    return made


def _no_password() -> str:
    """Nobody is there to be asked for one."""
    return ""


def _require_readable(path: str, variable: str) -> None:
    if not os.access(path, os.R_OK):
        raise Unavailable(f"{path}, which {variable} names, cannot be read")
