"""The commands that change what is installed beside this package: by pipx, uv or pip."""

from __future__ import annotations

import os
import sys

from shim.base.plain_text import shell_word

_NAME = "claude-shim"


def add(packages: str) -> str:
    """The command that adds packages to the environment that this one is installed in."""
    environment, tool = _environment()
    if tool == "pipx":
        return f"pipx inject {os.path.basename(environment)} {packages}"
    if tool in ("uv", "uv tool"):
        return f"uv pip install --python {_python(environment)} {packages}"
    return f"{_python(environment)} -m pip install {packages}"


def remove(package: str) -> str:
    """The command that removes another package from it."""
    environment, tool = _environment()
    if tool == "pipx":
        return f"pipx runpip {os.path.basename(environment)} uninstall -y {package}"
    if tool in ("uv", "uv tool"):
        return f"uv pip uninstall --python {_python(environment)} {package}"
    return f"{_python(environment)} -m pip uninstall -y {package}"


def reinstall(python: str = "") -> str | None:
    """The command that installs this package again; None if it cannot change to that Python."""
    environment, tool = _environment()
    other = f"--python {shell_word(python)} " if python else ""
    if tool == "pipx":
        return f"pipx reinstall {other}{os.path.basename(environment)}"
    if tool == "uv tool":
        return f"uv tool install --reinstall {other}{_NAME}"
    if python:
        return None
    if tool == "uv":
        return f"uv pip install --python {_python(environment)} --reinstall {_NAME}"
    return f"{_python(environment)} -m pip install --force-reinstall {_NAME}"


def _environment() -> tuple[str, str]:
    """The virtual environment that this package is imported from, and the tool that made it.

    The environment is empty if it is none.
    """
    # The daemon runs the Python below the environment: what it imports tells which that is.
    for packages in sys.path:
        environment, _, rest = packages.rpartition("/lib/")
        if rest.endswith("/site-packages") and os.access(f"{environment}/bin/python", os.X_OK):
            return environment, _tool(environment, packages)
    return "", "pip"


def _tool(environment: str, packages: str) -> str:
    *_, tool, folder, _ = ("", *environment.split("/"))
    if (tool, folder) == ("pipx", "venvs"):
        return "pipx"
    if (tool, folder) == ("uv", "tools"):
        return "uv tool"
    return "pip" if os.path.isdir(f"{packages}/pip") else "uv"  # uv puts no pip there


def _python(environment: str) -> str:
    return shell_word(f"{environment}/bin/python" if environment else sys.executable)
