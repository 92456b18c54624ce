"""The launcher: the program named `claude` that `claude-shim install` writes."""

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import filelock
import psutil

import shim
from shim.base.messages import Failure
from shim.claude.binary import LAUNCHER_MARK, is_launcher
from shim.install import modules

NAME = "claude"
# Beside the launcher: the modules of the wrapper, and our plugin for claude with its hook.
_PRELOAD = ".claude-shim-modules"
_PLUGIN = ".claude-shim-plugin"
_HOOK = "follow"
_PLUGIN_SOURCE = Path(__file__).parent / "claude_plugin"
_LIBRARIES = (psutil, filelock)

# What follows the shebang, in the launcher and in the hook. It is compiled at each call, all but
# the string: it is kept short. A call makes no garbage that would be worth the search for it.
_PREPARATION = """\
import gc, marshal, sys
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
"""
_LAUNCHER = """\
    from shim.call.wrapper import main
    main({plugin!r})
except Exception as problem:
    exec({without_the_package!r})
"""
_FOLLOW = """\
    from shim.hooks.following import main
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
     f" install claude-shim again, or delete {{__file__}}")
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


@dataclass(frozen=True)
class Maker:
    """What a launcher says of who made it: a Python, and where that finds the package."""

    python: str
    package: str


def install(directory: Path) -> Path:
    """Write the launcher into a directory, atomically, and return its path.

    Raises Failure where something else has that name, or no interpreter can run it.
    """
    path = directory / NAME
    if os.path.lexists(path) and not is_launcher(str(path)):
        raise Failure(f"{path} is not ours: move it away, or choose another --bin-dir")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        _replace(directory / _PRELOAD, modules.text(), 0o644)
        shutil.copytree(_PLUGIN_SOURCE, plugin(directory), dirs_exist_ok=True)
        _replace(hook(directory), hook_text(directory).encode(), 0o755)
        _replace(path, launcher_text(directory).encode(), 0o755)
    except OSError as problem:
        raise Failure(f"{path} cannot be written: {problem.strerror}") from problem
    return path


def uninstall(directory: Path) -> Path | None:
    """Remove the launcher from a directory; None where there is none of ours.

    Raises Failure where the system refuses.
    """
    path = directory / NAME
    if not is_launcher(str(path)):
        return None
    try:
        path.unlink()
        (directory / _PRELOAD).unlink(missing_ok=True)
        shutil.rmtree(plugin(directory), ignore_errors=True)
    except OSError as problem:
        raise Failure(f"{path} cannot be removed: {problem.strerror}") from problem
    return path


def stale(directory: Path) -> list[Path]:
    """What `install`, run by this Python, would change or add in a directory.

    Raises OSError where something there cannot be read.
    """
    wanted = {
        directory / NAME: launcher_text(directory).encode(),
        hook(directory): hook_text(directory).encode(),
    }
    for source in _PLUGIN_SOURCE.rglob("*.json"):
        wanted[plugin(directory) / source.relative_to(_PLUGIN_SOURCE)] = source.read_bytes()
    outdated = [path for path, content in wanted.items() if _content(path) != content]
    if not modules.is_current(_content(directory / _PRELOAD)):
        outdated.append(directory / _PRELOAD)
    return outdated


def plugin(directory: Path) -> Path:
    """Where the plugin for claude of a directory's launcher is."""
    return directory / _PLUGIN


def hook(directory: Path) -> Path:
    """Where the hook of that plugin is."""
    return directory / _PLUGIN / _HOOK


def first_on_path() -> str | None:
    """The program that a shell runs as `claude`."""
    for directory in os.get_exec_path():
        path = os.path.join(directory, NAME)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def maker(path: Path) -> Maker | None:
    """Who made a launcher, or None where it does not say. Raises OSError."""
    start = path.read_text("utf-8", "surrogateescape")[:4096]
    paths = re.search(r"^sys\.path \+= (\[.*\])$", start, re.MULTILINE)
    exec_line = re.search(r"^'{3}exec' (.*) -IS \"\$0\"", start, re.MULTILINE)
    if paths is None or not start.startswith("#!"):
        return None
    python = shlex.split(exec_line[1])[0] if exec_line else start[2:].split(" ", 1)[0]
    return Maker(python, ast.literal_eval(paths[1])[0])


def launcher_text(directory: Path) -> str:
    """The text of a directory's launcher, for the interpreter and package that run now."""
    mark = LAUNCHER_MARK.decode()
    without = _WITHOUT_THE_PACKAGE.format(mark=LAUNCHER_MARK, import_path=_import_paths()[0])
    return _preparation(
        directory, f"{mark}: made by `claude-shim install`, removed by `uninstall`."
    ) + _LAUNCHER.format(without_the_package=without, plugin=str(plugin(directory)))


def hook_text(directory: Path) -> str:
    """The text of the hook of a directory's plugin."""
    return _preparation(directory, "# claude-shim hook: made by `claude-shim install`.") + _FOLLOW


def _preparation(directory: Path, title: str) -> str:
    import_paths = _import_paths()
    preparation = _PREPARATION.format(import_paths=import_paths, preload=str(directory / _PRELOAD))
    return f"{_shebang(_interpreter(import_paths))}{title}\n{preparation}"


def _import_paths() -> list[str]:
    """Where the package is, and where the libraries of its rare ways are, if it is editable."""
    files = [shim.__file__, *(library.__file__ for library in _LIBRARIES)]
    return list(dict.fromkeys(str(Path(file or "").resolve().parent.parent) for file in files))


def _interpreter(import_paths: list[str]) -> str:
    """The interpreter to run the launcher with.

    The one that a virtual environment was made from, because it outlives the environment: the
    launcher can then still say what is wrong and run claude.
    """
    program = f"import sys; sys.path += {import_paths!r}; import shim.call.wrapper, shim.lease.busy"
    base = getattr(sys, "_base_executable", sys.executable)
    if base == sys.executable and sys.prefix != sys.base_prefix:
        base = os.path.realpath(base)  # CPython 3.10 names the environment's own link to it
    for python in (base, sys.executable):
        if subprocess.run([python, "-IS", "-c", program], check=False).returncode == 0:
            return python
    raise Failure(f"{sys.executable} cannot import shim from {import_paths[0]}")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


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
        raise Failure(f"{python} has a backslash in its path: install with another Python")
    # Read by sh as an exec, and by Python as a string.
    return f"#!/bin/sh\n'''exec' {shlex.quote(python)} -IS \"$0\" \"$@\"\n' '''\n"
