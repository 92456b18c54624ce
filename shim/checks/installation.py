"""Checks of the installation: the launcher, the real claude, the plugin and its hook."""

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

from shim.base import package_installer, programs
from shim.base.messages import Failure
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
# Seconds that the hook may take (claude's own limit), and that a call of claude may.
_HOOK_TIMEOUT = 10
_CLAUDE_TIMEOUT = 20
_NOTHING_TO_RESUME = "conversation found with session"

# Each prints the program behind its shim.
_VERSION_MANAGERS = ("mise", "asdf", "volta", "nodenv")
# Bytes of a script that may name one.
_SCRIPT = 4096

_START_UP_FILES = (
    *(".bashrc", ".bash_aliases", ".bash_profile", ".bash_login", ".profile"),
    *(".zshenv", ".zprofile", ".zshrc"),
    *(".config/fish/config.fish", ".config/fish/functions/claude.fish"),
)
_ALIAS = re.compile(r"\s*alias\s+(?:-\S+\s+)*claude(?:=|\s+)(.*)")
_FUNCTION = re.compile(r"\s*(?:function\s+claude\b|claude\s*\(\))")


def version(_: Setup) -> Iterator[Finding]:
    """The version of claude-shim, and of its Python."""
    number = metadata.version(_DISTRIBUTION)
    if _is_installed(_EARLIER_NAME):
        # Both have the package `shim`: uninstalling one removes the other's files.
        yield warning(
            f"{_EARLIER_NAME}, the earlier name of {_DISTRIBUTION}, is still installed",
            f"{package_installer.remove(_EARLIER_NAME)} && {package_installer.reinstall()}",
        )
    yield ok(f"{number}, with Python {sys.version.split()[0]} in {sys.prefix}")


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True


def launcher(setup: Setup) -> Iterator[Finding]:
    """The launcher of this version is installed, with its Python and its package."""
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
            f"{install}, to make it this one's",
        )
    elif path in setup.stale:
        yield problem(f"{path} is outdated", install)
    elif any(stale.parent == path.parent for stale in setup.stale):
        yield warning(f"files beside {path} are outdated: calls are slower", install)
    elif changed := [line.path for line in setup.looked_at if not line.is_unchanged]:
        yield warning(
            f"{' and '.join(changed)} changed since: each call starts Python twice, to be sure",
            install,
        )
    else:
        yield ok(str(path))


def python(setup: Setup) -> Iterator[Finding]:
    """The Python of the launcher runs the wrapper, and survives upgrades."""
    if setup.launcher is None or setup.maker is None:
        return
    path = setup.maker.python
    steadier = pythons.steadier(path)
    if not os.access(path, os.X_OK):
        return  # the check `launcher` reports it
    if not launchers.starts(setup.launcher.parent):
        yield problem(f"{path} cannot run the wrapper: claude is left alone", setup.install)
    elif steadier is not None:
        yield warning(
            f"{path} disappears with its environment or the next upgrade",
            _how_to_change_python(steadier, setup.install),
        )
    else:
        yield ok(path)


def _how_to_change_python(python: str, install: str) -> str:
    """How to have the launcher use another Python; empty if none is known."""
    command = package_installer.reinstall(python) if python else None
    how = f" (`{command}`)" if command else ""
    return f"install claude-shim with {python or 'another Python'}{how}, and {install}"


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
            f"{first} is before the launcher on PATH: rooms are not resumed", setup.first_on_path
        )


def _is_on_path(directory: Path) -> bool:
    return any(Path(where).is_dir() and directory.samefile(where) for where in os.get_exec_path())


def shell(_: Setup) -> Iterator[Finding]:
    """No alias or function in the start-up files replaces the launcher."""
    home = Path.home()
    lines = [
        (f"~/{name}:{number}", line)
        for name in _START_UP_FILES
        for number, line in enumerate(_text(home / name).splitlines(), 1)
    ]
    overrides = [(where, line) for where, line in lines if _goes_past_path(line)]
    for where, line in overrides:
        yield problem(f"{where} bypasses PATH: {line.strip()}", "remove that line")
    for where, line in lines:
        if _FUNCTION.match(line):
            yield warning(
                f"{where} makes claude a function of the shell",
                "have it run `command claude`, or remove it",
            )
            return
    if not overrides:
        yield ok("no alias in a start-up file replaces the launcher")


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
    """There is a real claude, the launcher reaches it, and it prints its version."""
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
            f"the launcher does not reach it: {through.complaint}",
            "set NSED_CLAUDE_BIN to the real claude",
        )
    elif setup.launcher and not through.came_through:
        yield problem(f"the launcher fails: {'; '.join(through.warnings)}", setup.install)
    elif not re.search(r"\d+\.\d+", through.version):
        yield warning(
            f"{setup.real} prints no version: {through.version!r}",
            "set NSED_CLAUDE_BIN to the real claude",
        )
    else:
        yield ok(f"{through.version}, {setup.real}")


def options(setup: Setup) -> Iterator[Finding]:
    """The options of the real claude are discovered."""
    if setup.real is None or setup.store is None:
        return
    claude, store = str(setup.real), str(setup.store)
    known = spec_lookup.known(claude, store)
    if known is not None:
        if (now := _spec_now(claude)) and spec_cache.options(now) == spec_cache.options(known.text):
            yield ok("discovered from this claude's --help")
            return
        path = shlex.quote(spec_cache.path(claude, store))
        yield warning(
            f"the --help of {claude} has changed: it leads to another claude now",
            f"nothing: within a day it is discovered again; for the next call, rm {path}",
        )
    elif (reason := spec_lookup.failure(claude, store)) is not None:
        yield warning(
            f"the --help of {setup.real} is not understood ({reason or 'unknown'}): the built-in"
            " table is used, and a system prompt may be ignored where a conversation is resumed",
            _how_to_reach(setup.real),
        )
    else:
        yield ok("not discovered yet: the next call with a room does that")


def _spec_now(claude: str) -> str | None:
    try:
        return spec_discovery.ask(claude)
    except Failure:
        return None


def _how_to_reach(claude: Path) -> str:
    """How to have the shim run the program itself that a version manager's shim runs."""
    with claude.open("rb") as file:
        script = file.read(_SCRIPT)
    for manager in _VERSION_MANAGERS:
        if re.search(rb"\b%s\b" % manager.encode(), bytes(claude.resolve()) + b" " + script):
            return f'export NSED_CLAUDE_BIN="$({manager} which claude)"'
    command = f"{shlex.quote(str(claude))} --help"
    return (
        f"run `{command}`, and correct what it reports; if it prints claude's help, run"
        " `claude-shim doctor` where your calls are made, or update claude-shim"
    )


def plugin(setup: Setup) -> Iterator[Finding]:
    """This version's plugin for claude is beside the launcher."""
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
        yield problem(f"outdated or missing in {where}: {names}", setup.install)
    else:
        yield ok(str(where))


def hook(setup: Setup) -> Iterator[Finding]:
    """The hook records a new head silently, alone and then run by the real claude.

    Both use a store of their own; claude runs with the settings that hold here.
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
            outcome = programs.run([path], environ, _HOOK_TIMEOUT, stdin=said)
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
                f"{path} exits with {outcome.exit_code} and prints {printed!r}", setup.install
            )
        elif not recorded:
            yield problem(f"{path} records nothing: /clear is not followed", setup.install)
        elif setup.real and _works(setup) and _is_refused_by(setup.real, trial, link, session_id):
            yield warning(
                "claude runs no hooks with the settings here: a /clear is followed only while that"
                " claude lives, or if it is killed",
                "remove disableAllHooks from the settings;"
                " `claude-shim help how-it-works` lists what else disables hooks",
            )
        else:
            yield ok("it follows the conversation through /clear")


def _works(setup: Setup) -> bool:
    """Whether the real claude prints its version."""
    return setup.trial is not None and not setup.trial.complaint


def _is_refused_by(claude: Path, store: str, link: str, session_id: str) -> bool:
    """Whether a claude does not run the hook at the end of a call that finds no conversation.

    Such a call asks no model, leaves nothing, and runs no other kind of hook (help facts, "Hooks").
    """
    sessions = Path(store, "sessions.json")
    before = _text(sessions)
    call: list[str | Path] = [claude, "-p", "x", "--resume", session_id, "--plugin-dir", link]
    try:
        outcome = programs.run(call, os.environ, _CLAUDE_TIMEOUT)
    except (OSError, programs.Overrun):
        return False
    has_run = _text(sessions) != before  # the time of its use
    return _NOTHING_TO_RESUME in outcome.errors and not has_run
