"""Starting housekeeping as a process of its own, which neither caller nor claude notices."""

import os
import sys

from shim.base.messages import explain
from shim.claude import transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

_PROGRAM = "import sys; sys.path[:] = {path!r}; from shim.keep.housekeeping import main; main()"
_LOWEST_PRIORITY = 19
_MOST_DESCRIPTORS = 1 << 20


def start_housekeeping(store: str) -> None:
    """Start it in the background."""
    try:
        child = os.fork()
    except OSError as problem:
        explain(f"no housekeeping: {problem.strerror}")
        return
    if not child:
        _leave_and_run(store)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD: it is gone without a trace


def _leave_and_run(store: str) -> "NoReturn":
    try:
        os.setsid()
        if not os.fork():
            _run(store)
    finally:
        os._exit(0)


def _run(store: str) -> None:
    # Nothing of the caller's stays open: who reads claude's output to its end waits for nobody.
    limit = os.sysconf("SC_OPEN_MAX")
    os.closerange(0, limit if 0 < limit < _MOST_DESCRIPTORS else _MOST_DESCRIPTORS)
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.set_inheritable(number, True)
    os.nice(_LOWEST_PRIORITY)
    places = [os.path.abspath(place) for place in (store, transcripts.projects_directory())]
    os.chdir("/")
    program = _PROGRAM.format(path=sys.path)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", program, *places])
