"""Checks of what is installed: the launcher, the claude behind it, the plugin and its hook."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import tempfile
import uuid
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base import programs
from shim.base.session_key import SessionKey
from shim.checks.finding import Finding, ok, problem, warning
from shim.claude import spec_cache, spec_discovery, spec_lookup
from shim.install import launcher as launchers
from shim.install import python as pythons
from shim.install import real_claude
from shim.install.trial import try_out
from shim.store import plugin_links

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Setup

_DISTRIBUTION, _EARLIER_NAME = "claude-shim", "claude-session-shim"
_GET_CLAUDE = "npm install -g @anthropic-ai/claude-code"
# Seconds that the hook may take, as claude gives it, and that a call of claude may.
_HOOK_PATIENCE = 10
_CLAUDE_PATIENCE = 20
_NOTHING_TO_RESUME = "conversation found with session"

_START_UP_FILES = (
    *(".bashrc", ".bash_aliases", ".bash_profile", ".bash_login", ".profile"),
    *(".zshenv", ".zprofile", ".zshrc"),
    *(".config/fish/config.fish", ".config/fish/functions/claude.fish"),
)
_ALIAS = re.compile(r"\s*alias\s+(?:-\S+\s+)*claude(?:=|\s+)(.*)")
_FUNCTION = re.compile(r"\s*(?:function\s+claude\b|claude\s*\(\))")


def version(_: Setup) -> Iterator[Finding]:
    """Which claude-shim this is."""
    number = metadata.version(_DISTRIBUTION)
    if _is_installed(_EARLIER_NAME):
        # Both have the package `shim`: removing the one takes the other's files along.
        yield warning(
            f"{_EARLIER_NAME}, the earlier name of {_DISTRIBUTION}, is still installed",
            f"uninstall {_EARLIER_NAME} (with pip or pipx), and install {_DISTRIBUTION} again",
        )
    yield ok(f"{number}, with Python {sys.version.split()[0]} in {sys.prefix}")


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def launcher(setup: Setup) -> Iterator[Finding]:
    """The launcher is there, with its Python and its package, and is what this version writes."""
    path, install = setup.launcher, setup.install
    if path is None:
        where = setup.bin_directory
        if where and os.path.lexists(where / launchers.NAME):
            yield problem(f"{where / launchers.NAME} is not ours", f"move it away, and {install}")
        else:
            beyond = f", nor in {where}" if where else ""
            yield problem(f"there is none on PATH{beyond}", install)
        return
    if not os.access(path, os.X_OK):
        yield problem(f"{path} is no executable file", install)
        return
    if setup.maker is None:
        yield problem(f"{path} is of another version, or what is beside it is damaged", install)
    elif not os.access(setup.maker.python, os.X_OK):
        yield problem(f"its Python is gone: {setup.maker.python}", install)
    elif not Path(setup.maker.package, "shim", "call", "wrapper.py").is_file():
        yield problem(f"its package is gone from {setup.maker.package}", install)
    elif not setup.is_of_this_package:
        yield warning(
            f"{path} belongs to another claude-shim, in {setup.maker.package}",
            f"{install}, to have it belong to this one",
        )
    elif path in setup.stale:
        yield problem(f"{path} is not what this version writes", install)
    elif any(stale.parent == path.parent for stale in setup.stale):
        yield warning(f"what is beside {path} is out of date: calls are slower", install)
    elif changed := [line.path for line in setup.looked_at if not line.holds]:
        yield warning(
            f"{' and '.join(changed)} changed since: each call starts Python twice, to be sure",
            install,
        )
    else:
        yield ok(str(path))


def python(setup: Setup) -> Iterator[Finding]:
    """The Python of the launcher runs the wrapper, and is one that upgrades leave alone."""
    if setup.launcher is None or setup.maker is None:
        return
    path = setup.maker.python
    steadier = pythons.steadier(path)
    if not os.access(path, os.X_OK):
        return  # the launcher's check says so
    if not launchers.starts(setup.launcher.parent):
        yield problem(f"{path} cannot run the wrapper: claude is left alone", setup.install)
    elif steadier is not None:
        yield warning(
            f"{path} goes with its environment, or with the next upgrade",
            f"install claude-shim with {steadier or 'another Python'}, and {setup.install}",
        )
    else:
        yield ok(path)


def path(setup: Setup) -> Iterator[Finding]:
    """The launcher is what runs as `claude`."""
    if setup.launcher is None:
        return
    first = launchers.first_on_path()
    if first is not None and os.path.samefile(first, setup.launcher):
        yield ok("the launcher is the first claude on PATH")
    elif not _is_on_path(setup.launcher.parent):
        what_runs = f"claude is {first}" if first else "there is no claude"
        yield problem(f"{setup.launcher.parent} is not on PATH: {what_runs}", setup.first_on_path)
    elif first is None:
        return  # the launcher is no executable file
    elif try_out(Path(first)).came_through:
        yield ok(f"{first} is first on PATH, and calls the launcher")
    else:
        yield problem(
            f"{first} is in front of the launcher: rooms are not continued", setup.first_on_path
        )


def _is_on_path(directory: Path) -> bool:
    return any(Path(where).is_dir() and directory.samefile(where) for where in os.get_exec_path())


def shell(_: Setup) -> Iterator[Finding]:
    """No alias and no function stands in front of PATH, as far as start-up files show."""
    home = Path.home()
    lines = [
        (f"~/{name}:{number}", line)
        for name in _START_UP_FILES
        for number, line in enumerate(_text(home / name).splitlines(), 1)
    ]
    overrides = [(where, line) for where, line in lines if _goes_past_path(line)]
    for where, line in overrides:
        yield problem(f"{where} has it pass PATH by: {line.strip()}", "take that line out")
    for where, line in lines:
        if _FUNCTION.match(line):
            yield warning(
                f"{where} makes claude a function of the shell",
                "have it run `command claude`, or take it out",
            )
            return
    if not overrides:
        yield ok("no start-up file has an alias in front of the launcher")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", "replace") if path.is_file() else ""
    except OSError:
        return ""


def _goes_past_path(line: str) -> bool:
    """Whether the line is an alias of claude to a program that is no launcher."""
    alias = _ALIAS.match(line)
    if alias is None:
        return False
    try:
        words = [word for part in shlex.split(alias[1], comments=True) for word in part.split()]
    except ValueError:
        return False
    program = next((word for word in words if "=" not in word), launchers.NAME)
    path = os.path.expandvars(os.path.expanduser(program))
    return "/" in path and not real_claude.is_launcher(path)


def claude(setup: Setup) -> Iterator[Finding]:
    """There is a real claude, the launcher gets to it, and it says its version."""
    direct = setup.trial
    if setup.real is None or direct is None:
        yield problem("there is none, neither on PATH nor in the usual places", _GET_CLAUDE)
        return
    if direct.complaint and not direct.came_through:
        yield problem(f"{setup.real} does not work: {direct.complaint}", _GET_CLAUDE)
        return
    through = try_out(setup.launcher) if setup.launcher else direct
    if through.complaint:
        yield problem(
            f"the launcher does not get to it: {through.complaint}",
            "name the real claude in NSED_CLAUDE_BIN",
        )
    elif setup.launcher and not through.came_through:
        yield problem(f"the launcher fails: {'; '.join(through.warnings)}", setup.install)
    elif not re.search(r"\d+\.\d+", through.version):
        yield warning(
            f"{setup.real} does not say a version: {through.version!r}",
            "name the real claude in NSED_CLAUDE_BIN",
        )
    else:
        yield ok(f"{through.version}, {setup.real}")


def options(setup: Setup) -> Iterator[Finding]:
    """What was learned of claude's command line."""
    if setup.real is None or setup.store is None:
        return
    claude, store = str(setup.real), str(setup.store)
    known = spec_lookup.known(claude, store)
    if known is not None:
        now = spec_discovery.ask(claude)
        if now and spec_cache.options(now) == spec_cache.options(known.text):
            yield ok("learned from the help of this claude")
            return
        path = shlex.quote(spec_cache.path(claude, store))
        yield warning(
            f"the help of {claude} is not the one that was learned: it leads to another claude now",
            f"nothing: within a day it is learned anew; at the next call, if you rm {path}",
        )
    elif spec_lookup.failed(claude, store):
        yield warning(
            f"the help of {setup.real} says nothing we understand: a built-in table serves",
            f"look at what `{setup.real} --help` says; update claude, or claude-shim",
        )
    else:
        yield ok("not learned of this claude yet: the next call with a room does it")


def plugin(setup: Setup) -> Iterator[Finding]:
    """The plugin for claude is beside the launcher, as this version has it."""
    if setup.launcher is None:
        return
    where = launchers.plugin(setup.launcher.parent)
    if setup.is_of_this_package:
        wrong = [path for path in setup.stale if path.is_relative_to(where)]
    else:
        needed = (where / "following", launchers.hook(setup.launcher.parent))
        wrong = [path for path in needed if not path.exists()]
    if wrong:
        names = ", ".join(sorted(str(path.relative_to(where)) for path in wrong))
        yield problem(f"not as this version has it in {where}: {names}", setup.install)
    else:
        yield ok(str(where))


def hook(setup: Setup) -> Iterator[Finding]:
    """The hook records where a conversation goes, tried on a store of its own, and is silent.

    Where it does, it is tried through the real claude, with the settings that hold here.
    """
    if setup.launcher is None:
        return
    path = launchers.hook(setup.launcher.parent)
    plugin = str(launchers.plugin(setup.launcher.parent))
    session_id = str(uuid.uuid4())
    event = {"hook_event_name": "UserPromptSubmit", "session_id": session_id}
    with tempfile.TemporaryDirectory(prefix="claude-shim-") as trial:
        link = plugin_links.ensure(trial, SessionKey(b"r", b"a"), plugin, "following") or plugin
        try:
            said = json.dumps(event).encode()
            environ = os.environ | {"CLAUDE_PLUGIN_ROOT": link}
            outcome = programs.run([path], environ, _HOOK_PATIENCE, stdin=said)
        except OSError as failure:
            yield problem(f"{path} cannot be run: {failure}", setup.install)
            return
        except programs.Overrun as failure:
            yield problem(f"{path}: {failure}", setup.install)
            return
        recorded = session_id in _text(Path(trial, "sessions.json"))
        printed = (outcome.output + outcome.errors).strip()
        if outcome.exit_code or printed:
            yield problem(
                f"{path} exits with {outcome.exit_code} and says {printed!r}", setup.install
            )
        elif not recorded:
            yield problem(f"{path} records nothing: /clear is not followed", setup.install)
        elif setup.real and _works(setup) and _is_refused_by(setup.real, trial, link, session_id):
            yield warning(
                "claude runs no hooks with the settings here: what /clear begins is followed only"
                " while that claude lives, or where it is killed",
                "take disableAllHooks out of the settings that have it;"
                " `claude-shim help how-it-works` has what else switches hooks off",
            )
        else:
            yield ok("it follows a conversation that moves on")


def _works(setup: Setup) -> bool:
    """Whether the real claude says its version."""
    return setup.trial is not None and not setup.trial.complaint


def _is_refused_by(claude: Path, store: str, link: str, session_id: str) -> bool:
    """Whether a claude does not run the hook, as a call ends that finds no conversation.

    Such a call asks no model, leaves nothing, and runs no other kind of hook (help facts, "Hooks").
    """
    sessions = Path(store, "sessions.json")
    before = _text(sessions)
    call: list[str | Path] = [claude, "-p", "x", "--resume", session_id, "--plugin-dir", link]
    try:
        outcome = programs.run(call, os.environ, _CLAUDE_PATIENCE)
    except (OSError, programs.Overrun):
        return False
    has_run = _text(sessions) != before  # the time of its use
    return _NOTHING_TO_RESUME in outcome.errors and not has_run
