"""Checks of what is around: the environment, and OpenCode."""

from __future__ import annotations

import difflib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base import environment, settings
from shim.call import identity
from shim.checks.finding import Finding, ok, problem, warning
from shim.opencode import plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Setup


# NSED has variables of its own: only what is this like one of ours is taken for it.
_LIKE = 0.8

_PYTHON_SDK = "lib/python*/site-packages/claude_agent_sdk/_bundled/claude"
_NODE_SDK = "node_modules/@anthropic-ai/claude-agent-sdk"


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


def sdks(setup: Setup) -> Iterator[Finding]:
    """No SDK runs a claude of its own past the launcher, as far as can be seen from here."""
    here = [Path.cwd(), *Path.cwd().parents] if _is_somewhere() else []
    programs = [Path(path) for name in ("python3", "node") if (path := shutil.which(name))]
    prefixes = [program.parent.parent for program in programs]
    prefixes += [program.resolve().parent.parent for program in programs]
    active = environment.get("VIRTUAL_ENV")
    pythons = [*([Path(active)] if active else []), *prefixes]
    pythons += [where / name for where in here[:1] for name in (".venv", "venv")]
    nodes = [*here, *(prefix / "lib" for prefix in prefixes)]
    found = {own.resolve(): "cli_path" for at in pythons for own in at.glob(_PYTHON_SDK)}
    for where in nodes:
        if (where / _NODE_SDK).is_dir():
            found[(where / _NODE_SDK).resolve()] = "pathToClaudeCodeExecutable"
    for sdk, option in found.items():
        yield warning(
            f"an SDK has a claude of its own, which passes the launcher by: {sdk}",
            f"in programs that use it, give its options {option}: {setup.launcher or 'claude'}",
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


def _faults(setup: Setup) -> Iterator[Finding]:
    if not _is_somewhere():
        yield problem("the working directory is gone", "cd to one that is there")
    for name, meant in _look_alikes():
        yield warning(f"{name} is no variable that is read", f"did you mean {meant}? Rename it")
    for setting in settings.table().values():
        value = environment.get(setting.name)
        if value and (fault := setting.fault(value)):
            fix = f"correct it, or unset it: it takes {setting.kind}"
            yield problem(f"{setting.name}={value} {fault}", fix)
    for warned in setup.answer.warnings:
        yield problem(warned, "name the real claude, an executable file, or unset it")


def _look_alikes() -> Iterator[tuple[str, str]]:
    """Variables that are none of ours but look like one, with that one."""
    known = [name for name in settings.table() if name.startswith("NSED_")]
    ours = {name.replace("_", ""): name for name in known}
    for name in sorted(os.environ):
        if name.startswith("NSED") and name not in known:
            close = difflib.get_close_matches(name.replace("_", ""), ours, n=1, cutoff=_LIKE)
            if close:
                yield name, ours[close[0]]


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
