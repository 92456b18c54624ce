"""The launcher: the program named `claude` that `claude-shim install` writes."""

import marshal
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import psutil

from shim import preload
from shim.binary import LAUNCHER_MARK, is_launcher

if TYPE_CHECKING:
    from types import CodeType

NAME = "claude"
# Beside the launcher: the modules of the wrapper, and our plugin for claude with its hook.
_PRELOAD = ".claude-shim-modules"
_PLUGIN = ".claude-shim-plugin"
_HOOK = "follow"
_LIBRARIES = (psutil, filelock)

# What follows the shebang, in the launcher and in the hook. It is compiled at each call, all but
# the string: it is kept short.
_PREPARATION = """\
import marshal, sys
sys.path += {import_paths!r}
try:
    try:
        with open({preload!r}, "rb") as file:
            if file.read(4) == sys.hexversion.to_bytes(4, "big"):
                code, modules = marshal.loads(file.read())
                exec(code)
    except Exception:
        pass
"""
_LAUNCHER = """\
    from shim.wrapper import main
    main({plugin!r})
except Exception as problem:
    exec({without_the_package!r})
"""
_FOLLOW = """\
    from shim.follow import main
    main()
except BaseException:
    pass
"""

# Where the package is gone, this becomes the real claude without it.
_WITHOUT_THE_PACKAGE = """\
import os, signal
def warn(text):
    try:
        os.write(2, b"claude-shim: " + os.fsencode(text) + b"\\n")
    except OSError:
        pass
warn(f"{{problem}} in {import_path}; this is the real claude without it:"
     f" install claude-session-shim again, or delete {{__file__}}")
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
places = [os.path.join(where, "claude") for where in os.get_exec_path()]
for place in [os.environ.get("NSED_CLAUDE_BIN", ""), *places]:
    if os.path.isfile(place) and os.access(place, os.X_OK):
        if {mark!r} not in open(place, "rb").read(1024):
            os.execv(place, ["claude", *sys.argv[1:]])
warn("there is no claude on PATH to run")
sys.exit(127)
"""

# Linux cuts a first line at 127 bytes (255 since 5.1), and a space in it ends the path.
_LONGEST_SHEBANG = 127


class LauncherError(Exception):
    """A launcher cannot be written or removed; the message says why, and what to do."""


def install(directory: Path) -> Path:
    """Write the launcher into a directory, atomically, and return its path.

    Raises LauncherError where something else has that name, or no interpreter can run it.
    """
    path = directory / NAME
    if os.path.lexists(path) and not is_launcher(str(path)):
        raise LauncherError(f"{path} is not ours: move it away, or choose another --bin-dir")
    plugin = directory / _PLUGIN
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / _PRELOAD, _preload(), 0o644)
        shutil.copytree(Path(__file__).parent / "claude_plugin", plugin, dirs_exist_ok=True)
        _replace(plugin / _HOOK, hook_text(directory).encode(), 0o755)
        _replace(path, launcher_text(directory).encode(), 0o755)
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
        (directory / _PRELOAD).unlink(missing_ok=True)
        shutil.rmtree(directory / _PLUGIN, ignore_errors=True)
    except OSError as problem:
        raise LauncherError(f"{path} cannot be removed: {problem.strerror}") from problem
    return path


def launcher_text(directory: Path) -> str:
    """The text of a directory's launcher, for the interpreter and package that run now."""
    mark = LAUNCHER_MARK.decode()
    without = _WITHOUT_THE_PACKAGE.format(mark=LAUNCHER_MARK, import_path=_import_paths()[0])
    return _preparation(
        directory, f"{mark}: made by `claude-shim install`, removed by `uninstall`."
    ) + _LAUNCHER.format(without_the_package=without, plugin=str(directory / _PLUGIN))


def hook_text(directory: Path) -> str:
    """The text of the hook of a directory's plugin."""
    return _preparation(directory, "# claude-shim hook: made by `claude-shim install`.") + _FOLLOW


def _preparation(directory: Path, title: str) -> str:
    import_paths = _import_paths()
    preparation = _PREPARATION.format(import_paths=import_paths, preload=str(directory / _PRELOAD))
    return f"{_shebang(_interpreter(import_paths))}{title}\n{preparation}"


def _import_paths() -> list[str]:
    """Where the package is, and where the libraries of its rare ways are, if it is editable."""
    files = [__file__, *(library.__file__ for library in _LIBRARIES)]
    return list(dict.fromkeys(str(Path(file or "").resolve().parent.parent) for file in files))


def _interpreter(import_paths: list[str]) -> str:
    """The interpreter to run the launcher with.

    The one that a virtual environment was made from, because it outlives the environment: the
    launcher can then still say what is wrong and run claude.
    """
    program = f"import sys; sys.path += {import_paths!r}; import shim.wrapper, shim.busy"
    base = getattr(sys, "_base_executable", sys.executable)
    if base == sys.executable and sys.prefix != sys.base_prefix:
        base = os.path.realpath(base)  # CPython 3.10 names the environment's own link to it
    for python in (base, sys.executable):
        if subprocess.run([python, "-IS", "-c", program], check=False).returncode == 0:
            return python
    raise LauncherError(f"{sys.executable} cannot import shim from {import_paths[0]}")


def _preload() -> bytes:
    """The file of the wrapper's modules, and of the code that loads them."""
    package = Path(__file__).parent
    loader = (package / "preload.py").read_text() + "sys.meta_path.insert(0, Preloaded(modules))"
    modules = {name: _compiled(_source(package, name)) for name in preload.MODULES}
    code = compile(loader, str(package / "preload.py"), "exec", dont_inherit=True)
    return sys.hexversion.to_bytes(4, "big") + marshal.dumps((code, modules))


def _source(package: Path, module: str) -> Path:
    _, _, name = module.partition(".")
    return package / f"{name or '__init__'}.py"


def _compiled(source: Path) -> "tuple[str, int, int, CodeType]":
    status = source.stat()
    # Without docstrings: there is nobody to read them, and they are a third of the file.
    code = compile(source.read_bytes(), str(source), "exec", dont_inherit=True, optimize=2)
    return str(source), status.st_mtime_ns, status.st_size, code


def _replace(path: Path, content: bytes, mode: int) -> None:
    unfinished = path.with_name(path.name + ".new")
    unfinished.write_bytes(content)
    unfinished.chmod(mode)
    unfinished.replace(path)


def _shebang(python: str) -> str:
    line = f"#!{python} -IS\n"
    if " " not in python and len(os.fsencode(line)) <= _LONGEST_SHEBANG:
        return line
    if "\\" in python:
        raise LauncherError(f"{python} has a backslash in its path: install with another Python")
    # Read by sh as an exec, and by Python as a string.
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} -IS \"$0\" \"$@\"\n' '''\n"
