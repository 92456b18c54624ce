"""Certificates of an authority of a test's own, made by openssl."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


class Authority:
    """An authority, whose certificate is `path`."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self.path = directory / "authority.pem"
        self._key = directory / "authority.key"
        _openssl(
            *("req", "-x509", *_KEY, "-days", "2", "-subj", "/CN=an authority"),
            *("-keyout", self._key, "-out", self.path),
        )

    def issue(self, name: str) -> tuple[Path, Path]:
        """A certificate for who is at loopback, with both uses, and its key."""
        request, key, certificate = (
            self._directory / f"{name}.{kind}" for kind in ("req", "key", "pem")
        )
        _openssl("req", "-new", *_KEY, "-subj", f"/CN={name}", "-keyout", key, "-out", request)
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(
            "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n"
        )
        _openssl(
            *("x509", "-req", "-in", request, "-days", "2", "-extfile", extensions),
            *("-CA", self.path, "-CAkey", self._key, "-CAcreateserial", "-out", certificate),
        )
        return certificate, key

    def of_host(self, name: str) -> Path:
        """A host's certificate and key, in one file."""
        certificate, key = self.issue(name)
        path = self._directory / f"{name}.both"
        path.write_text(certificate.read_text() + key.read_text())
        return path


def _openssl(*arguments: object) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
