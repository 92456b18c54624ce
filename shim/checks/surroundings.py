"""Checks of what is around: the environment, and OpenCode."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from shim.base import environment, settings
from shim.call import identity
from shim.checks.finding import Finding, ok, problem, warning
from shim.opencode import plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Setup


def variables(setup: Setup) -> Iterator[Finding]:
    """The shim's environment variables have values that it can use."""
    faults = list(_faults(setup))
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
            "claude-shim install --opencode",
        )


def _faults(setup: Setup) -> Iterator[Finding]:
    if not _is_somewhere():
        yield problem("the working directory is gone", "cd to one that is there")
    for setting in settings.table().values():
        value = environment.get(setting.name)
        if value and (fault := setting.fault(value)):
            mend = f"correct it, or unset it: it takes {setting.kind}"
            yield problem(f"{setting.name}={value} {fault}", mend)
    for warned in setup.answer.warnings:
        yield problem(warned, "name the real claude, an executable file, or unset it")


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
