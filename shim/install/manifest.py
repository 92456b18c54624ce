"""What stands beside the launcher: which Python to become, and what that is to run."""

import ast
import importlib.util
import marshal
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType

import filelock
import psutil

import shim
from shim.base.messages import Failure
from shim.install import python as pythons

_LIBRARIES = (psutil, filelock)

# A call makes no garbage that would be worth the search for it. Where the wrapper cannot begin, it
# becomes the launcher, which becomes claude (see launcher.c); it says why in few words, so that
# arguments at the system's limit fit once more.
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
    from shim.call.wrapper import main, warn
    if sys.argv[1:] == ["ready?"]:
        posix._exit({ready})
    if sys.version_info[:2] != {version}:
        warn("Python is of another version now: run `claude-shim install` again")
    main({plugin!r}, sys.argv[1:])
    raise SystemError("claude was not run")
except Exception as problem:
    what = f"{{type(problem).__name__}}: {{problem}}".encode("utf-8", "replace")
    launcher, *rest = [word.encode("utf-8", "surrogateescape") for word in sys.argv[1:]]
    posix.execv(launcher, [b"claude-shim-emergency", what[:80], *rest])
"""
# The exit code of a Python that starts, when it is tried out.
_READY = 86
# Seconds that it may take then.
_PATIENCE = 5

_HOOK = """\
{shebang}# claude-shim hook: made by `claude-shim install`.
import gc, sys
gc.disable()
sys.path += {import_paths!r}
try:
    from {module} import main
    main()
except BaseException:
    pass
"""

# Linux cuts a first line at 127 bytes (255 since 5.1), and a space in it ends the path.
_LONGEST_SHEBANG = 127


@dataclass(frozen=True)
class Maker:
    """What stands beside a launcher says of who made it: a Python, and where it has the package."""

    python: str
    package: str


@dataclass(frozen=True)
class Line:
    """A line on a file that was looked at as the launcher was installed."""

    key: str
    path: str
    holds: bool
    """Whether the file is as it was."""


def import_paths() -> list[str]:
    """Where the package is, and where the libraries of its rare ways are, if it is editable."""
    files = [shim.__file__, *(library.__file__ for library in _LIBRARIES)]
    return list(dict.fromkeys(str(Path(file or "").resolve().parent.parent) for file in files))


def program_text(plugin: Path, preload: Path) -> str:
    """The text of the program that Python runs for a launcher."""
    return _PROGRAM.format(
        import_paths=import_paths(),
        preload=str(preload),
        plugin=str(plugin),
        ready=_READY,
        version=tuple(sys.version_info[:2]),
    )


def compiled_of(program: Path) -> Path:
    """Where a program is compiled: launcher.c knows it by this name."""
    return program.with_name(program.name + "c")


def compiled(text: str, program: Path) -> bytes:
    """The program as Python runs it without compiling it: that would be 3 % of a call.

    A Python of another version than ours refuses it: see launcher.c for when it is run.
    """
    return _pyc_header() + marshal.dumps(_code(text, program))


def is_compiled(content: bytes | None, text: str, program: Path) -> bool:
    """Whether that is what a file holds; for the same code the bytes can differ."""
    header = _pyc_header()
    if content is None or not content.startswith(header):
        return False
    try:
        return bool(marshal.loads(content[len(header) :]) == _code(text, program))
    except (ValueError, EOFError, TypeError):
        return False


def hook_text(python: str, module: str) -> str:
    """The text of a hook's program, which runs the `main` of a module."""
    return _HOOK.format(shebang=_shebang(python), import_paths=import_paths(), module=module)


def installation_text(python: str, program: Path) -> str:
    """The text of the file that says which Python to become: launcher.c has its form.

    Raises Failure where that Python cannot run the wrapper, OSError where the program is not there.
    """
    files = pythons.needs(python, import_paths())
    if files is None:
        raise Failure(f"{python} cannot import shim from {import_paths()[0]}")
    files = [str(compiled_of(program)), *files]
    looked_at = [("python", python), ("program", str(program)), *(("file", it) for it in files)]
    lines = ["claude-shim 1", *(_line(key, path) for key, path in looked_at)]
    if any("\n" in line for line in lines):
        raise Failure(f"{python}, or {program}, has a line end in its path: install elsewhere")
    return "".join(f"{line}\n" for line in lines)


def starts(installation: Path) -> bool:
    """Whether the Python that such a file names runs its program. Raises OSError.

    It is tried out as launcher.c does.
    """
    named = {line.key: line.path for line in reversed(lines(installation))}
    trial = [named["python"], "-IS", "-Xutf8", named["program"], "ready?"]
    run = subprocess.run(
        trial, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False
    )
    return run.returncode == _READY


def lines(installation: Path) -> list[Line]:
    """What such a file says, and whether it still holds; empty for another. Raises OSError."""
    text = installation.read_text("utf-8", "surrogateescape")
    found = []
    for line in text.split("\n"):
        parts = re.fullmatch("(python|program|file) [0-9]+ [0-9]+ (/.*)", line)
        if parts:
            found.append(Line(parts[1], parts[2], _is_so(parts[1], parts[2], line)))
    return found


def maker(installation: Path) -> Maker | None:
    """Who made a launcher, or None where what is beside it does not say. Raises OSError."""
    paths = {line.key: line.path for line in reversed(lines(installation))}
    if "python" not in paths or "program" not in paths:
        return None
    text = Path(paths["program"]).read_text("utf-8", "surrogateescape")
    found = re.search(r"^sys\.path \+= (\[.*\])$", text, re.MULTILINE)
    return Maker(paths["python"], ast.literal_eval(found[1])[0]) if found else None


def _code(text: str, program: Path) -> CodeType:
    code: CodeType = compile(text, str(program), "exec", dont_inherit=True)
    return code


def _pyc_header() -> bytes:
    """With no source to compare with: nothing does when it is run by its own name."""
    return importlib.util.MAGIC_NUMBER + bytes(12)


def _line(key: str, path: str) -> str:
    status = os.stat(path)
    return f"{key} {status.st_size} {int(status.st_mtime)} {path}"


def _is_so(key: str, path: str, line: str) -> bool:
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
