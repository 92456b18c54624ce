"""Discovery of a claude's options and subcommands, from its own `--help`."""

import contextlib
import itertools
import os
import re
import tempfile
from pathlib import Path

import filelock

from shim.base import programs
from shim.base.files import make_directory, replace
from shim.base.messages import Failure, explain
from shim.claude import spec_cache
from shim.claude.cli_spec import FLAG, OPTIONAL, VALUE, VARIADIC, hidden

# Seconds that claude may take to print its help, and that a call waits for another's discovery.
_TIMEOUT = 5
# Specs in the cache: several versions may run side by side.
_MOST_CACHED = 16

# Of a script that runs claude: the bytes to read, how many scripts in a chain, and how many of the
# files that they lead to are checked at each call.
_SCRIPT = 1 << 12
_LONGEST_CHAIN = 3
_MOST_BEHIND = 4
_PATH = re.compile(r"/[^\s\"'`$;&|<>(){}*?\\]+")
_JAVASCRIPT = (".js", ".cjs", ".mjs")
_ODD = re.compile(r"[\t\n\ud800-\udfff]")

# Commander's lines: two spaces and a term, then its description in a column of its own, or below.
_TERM = re.compile(r"^  (\S.*?)(?:  .*)?$", re.MULTILINE)
_SPELLING = re.compile(r"--?[A-Za-z0-9][\w-]*")
_COMMAND = re.compile(r"[a-z][\w-]*(?:\|[a-z][\w-]*)*")


def discover(claude: str, store: str) -> str | None:
    """Discover the spec of a claude and cache it; only one process does, the others wait.

    None if claude's --help is not understood; `NAME.failed` records why. Raises OSError or Failure
    if the cache cannot be written, filelock.Timeout if another process takes too long.
    """
    make_directory(store)
    path = spec_cache.path(claude, store)
    directory = Path(path).parent
    directory.mkdir(mode=0o700, exist_ok=True)
    with _locked(store):
        if known := spec_cache.read(path):
            return known
        found: str | None
        try:
            text = found = ask(claude)
        except Failure as problem:
            explain(f"{claude} --help: {problem}; using the built-in table")
            path, text, found = f"{path}.failed", str(problem), None
        replace(path, text.encode("utf-8", "replace"))
        _remove_old(directory)
        return found


def ask(claude: str) -> str:
    """The spec of a claude as of now. Raises Failure if its --help is not understood."""
    lines = read_help(_help(claude))
    if lines is None:
        raise Failure("it is not that of Claude Code")
    return f"{_behind(claude)}{lines}{hidden()[1:]}{spec_cache.ASKED}{os.path.abspath(claude)}\n"


def ask_again(store: str) -> None:
    """Update the cached specs of claudes whose files have not changed.

    What a script runs can depend on other files (mise, volta, asdf).
    """
    for path in _names(f"{store}/{spec_cache.DIRECTORY}"):
        known = spec_cache.read(path)
        claude = known.rpartition("\n" + spec_cache.ASKED)[2].rstrip("\n") if known else ""
        with contextlib.suppress(OSError, ValueError, Failure, filelock.Timeout):
            if os.path.isabs(claude) and spec_cache.path(claude, store) == path:
                now = ask(claude)
                if now != known:
                    with _locked(store):
                        replace(path, now.encode("utf-8", "replace"))


def _locked(store: str) -> filelock.BaseFileLock:
    return filelock.FileLock(f"{store}/{spec_cache.DIRECTORY}.lock", timeout=_TIMEOUT, mode=0o600)


def _names(directory: str) -> list[str]:
    try:
        names = os.listdir(directory)
    except OSError:
        return []
    return [f"{directory}/{name}" for name in names if "." not in name]


def _behind(claude: str) -> str:
    """The first line of a cached spec: the files that a script leads to, if it names them."""
    found: list[str] = []
    scripts = [os.path.realpath(claude)]
    for script in itertools.islice(scripts, _LONGEST_CHAIN):
        for path in _named_in(script):
            if len(found) < _MOST_BEHIND and path not in (claude, *scripts, *found):
                found.append(path)
                scripts.append(path)
    return spec_cache.SEPARATOR.join(
        f"{spec_cache.identity(path)}{spec_cache.SEPARATOR}{path}" for path in found
    )


def _named_in(script: str) -> list[str]:
    """The files that a script names: by absolute paths, from home, or from its own directory."""
    with open(script, "rb") as file:
        text = file.read(_SCRIPT)
    if not text.startswith(b"#!") and b"\0" in text:
        return []  # a program
    first, _, rest = text.decode("utf-8", "surrogateescape").partition("\n")
    places = ("", os.path.expanduser("~"), os.path.dirname(script))
    named = [
        os.path.normpath(place + path)
        for path in _PATH.findall(rest if first.startswith("#!") else first + "\n" + rest)
        for place in places
    ]
    # Not files that it writes to: those would change with each call.
    return [path for path in named if _is_program(path) and not _ODD.search(path)]


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and (os.access(path, os.X_OK) or path.endswith(_JAVASCRIPT))


def read_help(text: str) -> str | None:
    """The lines of a spec for claude's help text, or None for another text."""
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
    """What `claude --help` prints, run as the caller would run it. Raises Failure where it fails.

    In the caller's directory and environment, because a version manager's shim and a wrapper look
    for claude there (help facts, "Version managers and homes"). Claude's own help leaves nothing
    behind; its config directory is another one all the same.
    """
    # A child that it leaves behind may still write there.
    with tempfile.TemporaryDirectory(prefix="claude-shim-", ignore_cleanup_errors=True) as config:
        environ = os.environ | {
            "CLAUDE_CONFIG_DIR": config,
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "NSED_SHIM_DISABLE": "1",
        }
        try:
            outcome = programs.run([os.path.abspath(claude), "--help"], environ, _TIMEOUT)
        except OSError as problem:
            raise Failure(f"it cannot be run: {problem.strerror}") from problem
    if outcome.exit_code:
        said = (outcome.errors.strip() or outcome.output.strip()).rpartition("\n")[2]
        raise Failure(f"it exits with {outcome.exit_code}: {said or 'no output'}")
    return outcome.output


def _remove_old(directory: Path) -> None:
    cached = sorted(directory.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in cached[_MOST_CACHED:]:
        path.unlink()
