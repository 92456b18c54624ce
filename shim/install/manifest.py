"""The manifest beside the launcher: which Python to become, and the program that it runs."""

import ast
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil

import shim
from shim.base.messages import Failure
from shim.install import python as pythons

_LIBRARIES = (psutil, filelock)

# A call makes too little garbage to collect. If the wrapper cannot start, it becomes the launcher,
# which becomes claude (see launcher.c). The reason is cut, so that arguments at the system's limit
# still fit.
_PROGRAM = """\
# claude-shim program: made by `claude-shim install`.
import gc, marshal, posix, sys
gc.disable()
sys.path += {import_paths!r}
try:
    try:
        with open({preload!r}, "rb", 0) as file:
            modules = file.read()
        if modules.endswith(sys.hexversion.to_bytes(4, "big")):
            code, modules = marshal.loads(modules)
            exec(code)
    except Exception:
        pass
    from shim.call.wrapper import main
    main({plugin!r}, {version}, sys.argv[1:])
    raise SystemError("claude was not run")
except Exception as problem:
    what = f"{{type(problem).__name__}}: {{problem}}".encode("utf-8", "replace")[:80]
    posix.execv(sys.argv[1], ["claude-shim-emergency", what, *sys.argv[2:]])
"""
# The exit code of a trial start, as shim/call/wrapper.py has it, and the seconds that it may take.
_READY = 86
_TRIAL_TIMEOUT = 5

_HOOK = """\
{shebang}# claude-shim hook: made by `claude-shim install`.
import gc, sys
gc.disable()
sys.path += {import_paths!r}
try:
    from {module} import main
    main()
except BaseException:
    {otherwise}
"""
# The hook in C notes for the next call what Python cannot record; its own name ends in no `.py`.
_NOTE = 'import posix; posix.execv(sys.argv[0][:-3], ["follow", "note"])'

# Linux cuts a first line at 127 bytes (255 since 5.1), and a space ends the path in it.
_LONGEST_SHEBANG = 127


@dataclass(frozen=True)
class Maker:
    """Who installed a launcher: the Python, and the directory of its package."""

    python: str
    package: str


@dataclass(frozen=True)
class Line:
    """A line of the manifest: a file that Python needs."""

    key: str
    path: str
    is_unchanged: bool


def import_paths() -> list[str]:
    """The directories of the package and, if that is editable, of its libraries."""
    files = [shim.__file__, *(library.__file__ for library in _LIBRARIES)]
    return list(dict.fromkeys(str(Path(file or "").resolve().parent.parent) for file in files))


def program_text(plugin: Path, preload: Path) -> str:
    """The program that the launcher's Python runs."""
    return _PROGRAM.format(
        import_paths=import_paths(),
        preload=str(preload),
        plugin=str(plugin),
        version=tuple(sys.version_info[:2]),
    )


def hook_text(python: str, module: str, is_recording: bool) -> str:
    """The program of a hook, which runs the `main` of a module.

    One that is recording has the hook in C, of the same name without `.py`, note what it cannot.
    """
    return _HOOK.format(
        shebang=_shebang(python),
        import_paths=import_paths(),
        module=module,
        otherwise=_NOTE if is_recording else "pass",
    )


def text(python: str, program: Path) -> str:
    """The manifest of a launcher that becomes this Python; launcher.c has the format.

    Raises Failure if that Python cannot run the wrapper, OSError if the program does not exist.
    """
    files = pythons.needs(python, import_paths())
    if files is None:
        raise Failure(f"{python} cannot import shim from {import_paths()[0]}")
    named = [("python", python), ("program", str(program)), *(("file", file) for file in files)]
    lines = ["claude-shim 1", *(_line(key, path) for key, path in named)]
    if any("\n" in line for line in lines):
        raise Failure(f"{python}, or {program}, has a line end in its path: install elsewhere")
    return "".join(f"{line}\n" for line in lines)


def starts(manifest: Path) -> bool:
    """Whether the Python of a manifest runs its program, as launcher.c tries. Raises OSError."""
    named = {line.key: line.path for line in reversed(lines(manifest))}
    trial = [named["python"], "-IS", "-Xutf8", named["program"], "ready?"]
    run = subprocess.run(
        trial, stdin=subprocess.DEVNULL, capture_output=True, timeout=_TRIAL_TIMEOUT, check=False
    )
    return run.returncode == _READY


def lines(manifest: Path) -> list[Line]:
    """The lines of a manifest; none for another file. Raises OSError."""
    found = []
    for line in manifest.read_text("utf-8", "surrogateescape").split("\n"):
        parts = re.fullmatch("(python|program|file) [0-9]+ [0-9]+ (/.*)", line)
        if parts:
            found.append(Line(parts[1], parts[2], _is_unchanged(parts[1], parts[2], line)))
    return found


def maker(manifest: Path) -> Maker | None:
    """Who installed the launcher of a manifest; None if nothing there says. Raises OSError."""
    paths = {line.key: line.path for line in reversed(lines(manifest))}
    if "python" not in paths or "program" not in paths:
        return None
    program = Path(paths["program"]).read_text("utf-8", "surrogateescape")
    found = re.search(r"^sys\.path \+= (\[.*\])$", program, re.MULTILINE)
    return Maker(paths["python"], ast.literal_eval(found[1])[0]) if found else None


def _line(key: str, path: str) -> str:
    status = os.stat(path)
    return f"{key} {status.st_size} {int(status.st_mtime)} {path}"


def _is_unchanged(key: str, path: str, line: str) -> bool:
    try:
        return _line(key, path) == line
    except OSError:
        return False


def _shebang(python: str) -> str:
    line = f"#!{python} -IS\n"
    if " " not in python and len(os.fsencode(line)) <= _LONGEST_SHEBANG:
        return line
    if "\\" in python:
        raise Failure(f"{python} has a backslash in its path: install with another Python")
    # Read by sh as an exec, and by Python as a string.
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} -IS \"$0\" \"$@\"\n' '''\n"
