"""Checks of what is around: the environment, and OpenCode."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from shim.base import environment
from shim.call import identity
from shim.checks.finding import Finding, ok, problem, warning
from shim.claude import binary
from shim.opencode import plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Setup

_POLICIES = ("wait", "fork", "fail")


def variables(_: Setup) -> Iterator[Finding]:
    """The shim's environment variables have values that it can use."""
    faults = list(_faults())
    yield from faults
    if environment.is_on("NSED_SHIM_DISABLE"):
        yield warning("NSED_SHIM_DISABLE is on: claude is left alone", "unset NSED_SHIM_DISABLE")
    elif not faults:
        found = identity.resolve(os.environb, b"", None)
        yield ok(
            f"here, claude is {found.key}"
            if found
            else "no room and no agent here: claude is as ever"
        )


def opencode(_: Setup) -> Iterator[Finding]:
    """Our plugin is where OpenCode loads it, as this version has it, if there is an OpenCode."""
    states = {}
    for is_project in (False, True) if _is_somewhere() else (False,):
        path = plugin.path(is_project)
        states[path] = plugin.state(path)
        how = "claude-shim opencode install" + (" --project" if is_project else "")
        if states[path] == plugin.OUTDATED:
            yield problem(f"{path} is not what this version writes", how)
        elif states[path] == plugin.FOREIGN:
            yield problem(f"{path} is not ours", f"move it away, and {how}")
        elif states[path] == plugin.CURRENT:
            yield ok(str(path))
    if set(states.values()) == {plugin.MISSING} and shutil.which("opencode"):
        yield warning(
            "OpenCode is here, without our plugin: its subagents and agents are not told apart",
            "claude-shim opencode install",
        )


def _faults() -> Iterator[Finding]:
    if not _is_somewhere():
        yield problem("the working directory is gone", "cd to one that is there")
    directory = environment.get("NSED_SESSION_DIR")
    if directory and not os.path.isabs(directory):
        yield problem(
            f"NSED_SESSION_DIR={directory} is another directory wherever you are",
            "give it a path from / on",
        )
    policy = environment.get("NSED_ON_BUSY")
    if policy and policy not in _POLICIES:
        yield problem(
            f"NSED_ON_BUSY={policy} is none of {', '.join(_POLICIES)}: taken as unset",
            "correct it, or unset it",
        )
    for name, unit in (("NSED_BUSY_TIMEOUT", "seconds"), ("NSED_KEEP_DAYS", "days")):
        if not _is_number(environment.get(name) or "0"):
            yield problem(
                f"{name}={environment.get(name)} is no number of {unit}: taken as unset",
                "correct it, or unset it",
            )
    named = environment.get("NSED_CLAUDE_BIN")
    places = [named] if "/" in named else [f"{where}/{named}" for where in os.get_exec_path()]
    if named and not any(map(binary.is_real_claude, places)):
        yield problem(
            f"NSED_CLAUDE_BIN={named} is no program to run as claude: it is looked for along PATH",
            "name the real claude, an executable file, or unset it",
        )


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
