"""The launcher: the program named `claude` that `claude-shim install` writes."""

import os
import subprocess
import sys
from pathlib import Path

from shim.binary import LAUNCHER_MARK, is_launcher

NAME = "claude"

# Where the package is gone, this much must do without it.
_BODY = """\
{mark}: made by `claude-shim install`, removed by `claude-shim uninstall`.
import sys
sys.path.append({import_path!r})
try:
    from shim.wrapper import main
except Exception as problem:
    import os, signal
    print("claude-shim:", problem, "in", {import_path!r} + "; this is the real claude, without it:",
          "install claude-session-shim again, or delete", __file__, file=sys.stderr, flush=True)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    places = [os.path.join(where, "claude") for where in os.get_exec_path()]
    for place in [os.environ.get("NSED_CLAUDE_BIN", ""), *places]:
        if os.path.isfile(place) and os.access(place, os.X_OK):
            if {mark!r} not in open(place, "rb").read(1024).decode("latin-1"):
                os.execv(place, ["claude", *sys.argv[1:]])
    print("claude-shim: there is no claude on PATH to run", file=sys.stderr)
    sys.exit(127)
main()
"""

# Linux cuts a first line at 127 bytes (255 since 5.1), and a space in it ends the path.
_LONGEST_SHEBANG = 127


class LauncherError(Exception):
    """A launcher cannot be written or removed; the message says why, and what to do."""


def install(directory: Path) -> Path:
    """Write the launcher into a directory, atomically, and return its path.

    Raises LauncherError where something else has that name, or no interpreter can run it.
    """
    if sys.platform == "win32":
        raise LauncherError("Windows has no execve: claude-shim runs on Linux and macOS")
    path = directory / NAME
    if os.path.lexists(path) and not is_launcher(str(path)):
        raise LauncherError(f"{path} is not ours: move it away, or choose another --bin-dir")
    unfinished = path.with_name(f".{NAME}.new")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        unfinished.write_text(text())
        unfinished.chmod(0o755)
        unfinished.replace(path)
    except OSError as problem:
        raise LauncherError(f"{path} cannot be written: {problem.strerror}") from problem
    return path


def uninstall(directory: Path) -> Path | None:
    """Remove the launcher from a directory; None where there is none of ours.

    Raises LauncherError where the system refuses.
    """
    path = directory / NAME
    if not is_launcher(str(path)):
        return None
    try:
        path.unlink()
    except OSError as problem:
        raise LauncherError(f"{path} cannot be removed: {problem.strerror}") from problem
    return path


def text() -> str:
    """The launcher's text, for the interpreter and the package that are running now."""
    import_path = str(Path(__file__).resolve().parent.parent)
    body = _BODY.format(mark=LAUNCHER_MARK.decode(), import_path=import_path)
    return _shebang(_interpreter(import_path)) + body


def _interpreter(import_path: str) -> str:
    """The interpreter to run the launcher with.

    The one that a virtual environment was made from, because it outlives the environment: the
    launcher can then still say what is wrong and run claude.
    """
    program = f"import sys; sys.path.append({import_path!r}); import shim.wrapper"
    for python in (getattr(sys, "_base_executable", None), sys.executable):
        if python and subprocess.run([python, "-IS", "-c", program], check=False).returncode == 0:
            return python
    raise LauncherError(f"{sys.executable} cannot import shim from {import_path}")


def _shebang(python: str) -> str:
    line = f"#!{python} -IS\n"
    if " " not in python and len(os.fsencode(line)) <= _LONGEST_SHEBANG:
        return line
    # Read by sh as an exec, and by Python as a string.
    quoted = "".join("\\" + char if char in '\\"$`' else char for char in python)
    return f"#!/bin/sh\n'''exec' \"{quoted}\" -IS \"$0\" \"$@\"\n' '''\n"
