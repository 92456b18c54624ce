"""Detached processes, such as the housekeeping, which neither the caller nor claude notices."""

import os
import sys

from shim.base.messages import explain
from shim.claude import transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import NoReturn

_PROGRAM = "import sys; sys.path[:] = {path!r}; from {module} import main; main()"
_LOWEST_PRIORITY = 19
_MOST_DESCRIPTORS = 1 << 20


def start_housekeeping(store: str) -> None:
    """Start the housekeeping in the background, at the lowest priority."""
    places = [os.path.abspath(place) for place in (store, transcripts.projects_directory())]
    start("shim.retention.housekeeping", places, lambda: os.nice(_LOWEST_PRIORITY))


def start(module: str, args: "Sequence[str]", before: "Callable[[], object]") -> None:
    """Start the `main` of a module in the background; `before` is called in the new process."""
    try:
        child = os.fork()
    except OSError as problem:
        explain(f"{module} is not started: {problem.strerror}")
        return
    if not child:
        _leave_and_run(module, args, before)
    try:
        os.waitpid(child, 0)
    except ChildProcessError:
        pass  # the caller ignores SIGCHLD: the kernel has reaped the child


def _leave_and_run(
    module: str, args: "Sequence[str]", before: "Callable[[], object]"
) -> "NoReturn":
    try:
        os.setsid()
        if not os.fork():
            _run(module, args, before)
    finally:
        os._exit(0)


def _run(module: str, args: "Sequence[str]", before: "Callable[[], object]") -> None:
    # Close what the caller had open: who reads claude's output to its end must not wait for this.
    limit = os.sysconf("SC_OPEN_MAX")
    os.closerange(0, limit if 0 < limit < _MOST_DESCRIPTORS else _MOST_DESCRIPTORS)
    for _ in range(3):
        os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.set_inheritable(number, True)
    before()
    os.chdir("/")
    program = _PROGRAM.format(path=sys.path, module=module)
    os.execv(sys.executable, [sys.executable, "-IS", "-c", program, *args])
