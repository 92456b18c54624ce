"""The Python that the launcher becomes: its steadiest name, and what it cannot start without."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from shim.base.messages import Failure

# Homebrew has each version in a directory of its own, and a link to the one that is in use.
_CELLAR = re.compile(r"(?P<prefix>.*)/Cellar/(?P<formula>[^/]+)/[^/]+/(?P<rest>.*)")

# Run by the Python that is chosen: it imports what a call may need, and says what files it needs
# to start at all, which an exec of it would not miss. On Linux, /proc names its own library; on
# macOS it is beside the framework's directories.
_TRIAL = """\
import os, sys
sys.path += {import_paths!r}
import shim.call.wrapper, shim.locks.contention
import encodings
print(os.path.abspath(encodings.__file__))
print(os.path.join(sys.base_prefix, "Python"))
if os.path.exists("/proc/self/maps"):
    for line in open("/proc/self/maps"):
        path = line.rstrip("\\n").partition("/")[2]
        if "libpython" in path:
            print("/" + path)
"""


def choose(import_paths: list[str]) -> str:
    """The interpreter to run the wrapper with, by its steadiest name. Raises Failure.

    The one that a virtual environment was made from, because it outlives the environment.
    """
    base = getattr(sys, "_base_executable", sys.executable)
    if base == sys.executable and sys.prefix != sys.base_prefix:
        base = os.path.realpath(base)  # CPython 3.10 names the environment's own link to it
    for python in (*names(base), sys.executable):
        if needs(python, import_paths) is not None:
            return python
    raise Failure(f"{sys.executable} cannot import shim from {import_paths[0]}")


def names(python: str) -> list[str]:
    """The names of an interpreter, the one first that upgrades leave alone longest."""
    path = Path(python)
    found = [path.with_name("python3"), path]
    cellar = _CELLAR.fullmatch(python)
    if cellar:
        linked = Path(cellar["prefix"], "opt", cellar["formula"], cellar["rest"])
        found = [linked.with_name("python3"), linked, *found]
    return [str(name) for name in found if _is_the_same(name, path)]


def needs(python: str, import_paths: list[str]) -> list[str] | None:
    """The files that an interpreter cannot start without, or None where it cannot run the wrapper.

    Beyond itself: its exec fails where that is gone.
    """
    trial = [python, "-IS", "-Xutf8", "-c", _TRIAL.format(import_paths=import_paths)]
    try:
        run = subprocess.run(trial, stdout=subprocess.PIPE, check=False)
    except OSError:
        return None
    if run.returncode:
        return None
    files = dict.fromkeys(os.fsdecode(run.stdout).splitlines())
    return [file for file in files if os.path.isfile(file)]


def steadier(python: str) -> str | None:
    """An interpreter that outlives upgrades where this one does not; None where it does.

    An environment's goes with it, and Homebrew's by its version with the next one. Empty where
    none is found.
    """
    if not _CELLAR.fullmatch(python) and not Path(python).parent.with_name("pyvenv.cfg").exists():
        return None
    others = [*names(python), shutil.which("python3", path="/usr/bin:/opt/homebrew/bin") or ""]
    return next((other for other in others if other != python), "")


def _is_the_same(name: Path, python: Path) -> bool:
    try:
        return name.samefile(python)
    except OSError:
        return False
