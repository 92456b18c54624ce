"""Checks of the environment, OpenCode and SDKs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base import environment, settings
from shim.base.plain_text import command_line, shell_word
from shim.call import identity
from shim.checks.finding import Finding, ok, problem, warning
from shim.opencode import plugin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Setup


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
        if found is None:
            yield ok("no room and no agent here: claude runs without the shim")
        elif found.is_inherited:
            yield ok(f"{found.key} is inherited here: claude runs without it")
        else:
            yield ok(f"here, claude is {found.key}")


def sdks(setup: Setup) -> Iterator[Finding]:
    """No SDK nearby bypasses the launcher with a claude of its own."""
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
            f"an SDK has a claude of its own, which bypasses the launcher: {sdk}",
            f"in programs that use it, set its option {option}: {setup.launcher or 'claude'}",
        )


def opencode(_: Setup) -> Iterator[Finding]:
    """If there is an OpenCode, it loads this version of our plugin."""
    states = {}
    for is_project in (False, True) if _is_somewhere() else (False,):
        path = plugin.path(is_project)
        states[path] = plugin.state(path)
        how = command_line("opencode install") + (" --project" if is_project else "")
        if states[path] == plugin.OUTDATED:
            yield problem(f"{path} is outdated or edited", how)
        elif states[path] == plugin.FOREIGN:
            yield problem(f"{path} is not ours", f"move it away, and {how}")
        elif states[path] == plugin.CURRENT:
            yield ok(f"{path}, for OpenCode 1 and 2 (claude-shim help opencode)")
    if set(states.values()) == {plugin.MISSING} and shutil.which("opencode"):
        yield warning(
            "OpenCode has no plugin of ours: its agents and subagents share a conversation",
            command_line("opencode install"),
        )


def _faults(setup: Setup) -> Iterator[Finding]:
    if not _is_somewhere():
        yield problem("the working directory is gone", "cd to one that is there")
    for name, meant in settings.misspelt(os.environ):
        value = shell_word(os.environ[name])
        yield warning(
            settings.hint(name, meant),
            f"unset {name}; export {meant}={value}",
        )
    for setting in settings.table().values():
        value = environment.get(setting.name)
        if value and (fault := setting.fault(value)):
            fix = f"correct or unset it: it takes {setting.kind}"
            yield problem(f"{setting.name}={value} {fault}", fix)
    for warned in setup.answer.warnings:
        yield problem(warned, "set it to the real claude, an executable file, or unset it")


def _is_somewhere() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return False
    return True
