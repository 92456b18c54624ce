"""Learning what options and subcommands a claude has: from its own `--help`."""

import os
import re
import tempfile
from pathlib import Path

import filelock

from shim.base import running
from shim.base.files import make_directory, replace
from shim.base.messages import explain
from shim.claude.options import FLAG, OPTIONAL, VALUE, VARIADIC, hidden

# Seconds that claude may take to print its help, and that a call waits for another's learning.
_PATIENCE = 5
# What is kept of other binaries: fleets may run several versions side by side.
_KEPT_SURFACES = 16

# Commander's lines: two spaces and a term, then its description in a column of its own, or below.
_TERM = re.compile(r"^  (\S.*?)(?:  .*)?$", re.MULTILINE)
_SPELLING = re.compile(r"--?[A-Za-z0-9][\w-]*")
_COMMAND = re.compile(r"[a-z][\w-]*(?:\|[a-z][\w-]*)*")


def learn(claude: str, store: str, name: str) -> str | None:
    """Learn the surface of a claude and keep it under a name, once, while others wait for it.

    None where claude's help says nothing we understand, which is noted in `NAME.failed`. Raises
    OSError or Failure where nothing can be kept, filelock.Timeout where another process does
    not get done.
    """
    make_directory(store)
    directory = Path(store, "surfaces")
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / name
    with filelock.FileLock(f"{directory}.lock", timeout=_PATIENCE, mode=0o600):
        if path.exists():
            return path.read_text()
        listed = read_help(_help(claude))
        learned = listed and listed + hidden()[1:]
        if learned is None:
            explain(f"{claude} --help says nothing we understand: the built-in table serves")
        replace(str(path) if learned else f"{path}.failed", (learned or "").encode())
        _forget_old(directory)
        return learned


def read_help(text: str) -> str | None:
    """The lines of a surface for claude's help text, or None for another text."""
    before, options, rest = text.partition("\nOptions:\n")
    options, commands, subcommands = rest.partition("\nCommands:\n")
    lines = [line for term in _TERM.findall(options) for line in _option_lines(term)]
    for term in _TERM.findall(subcommands):
        names = _COMMAND.match(term)
        lines += [f"{name} subcommand" for name in names[0].split("|")] if names else []
    if not before or not commands or "--resume --resume [value]" not in lines:
        return None
    return "\n" + "".join(line + "\n" for line in lines)


def _option_lines(term: str) -> list[str]:
    spellings = _SPELLING.findall(re.split(r"[<\[]", term)[0]) if term.startswith("-") else []
    if "..." in term:
        takes = VARIADIC
    elif "<" in term:
        takes = VALUE
    else:
        takes = OPTIONAL if "[" in term else FLAG
    return [f"{spelling} {spellings[-1]} {takes}" for spelling in spellings]


def _help(claude: str) -> str:
    """What `claude --help` prints, run where it can neither disturb the user nor be in the way."""
    with tempfile.TemporaryDirectory(prefix="claude-shim-") as home:
        environ = {
            "HOME": home,
            "CLAUDE_CONFIG_DIR": f"{home}/.claude",
            "PATH": os.environ.get("PATH", os.defpath),
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "NSED_SHIM_DISABLE": "1",
        }
        try:
            outcome = running.run([claude, "--help"], environ, _PATIENCE, directory=home)
        except (OSError, running.Endless) as problem:
            explain(f"{claude} --help: {problem}")
            return ""
        return outcome.output if outcome.exit_code == 0 else ""


def _forget_old(directory: Path) -> None:
    surfaces = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in surfaces[_KEPT_SURFACES:]:
        path.unlink()
