"""Once a day, a call starts the housekeeping: in a process of its own, that nobody waits for."""

import posix
import time

from shim.base import environment
from shim.base.messages import explain
from shim.claude import transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

STAMP: "Final" = "housekeeping"

_DAY = 86400.0


def start_if_due(store: str) -> None:
    """Start the daily housekeeping, where it was not started within a day.

    In a store where it never was, the first day begins now.
    """
    try:
        age = time.time() - posix.stat(_stamp(store)).st_mtime
    except FileNotFoundError:
        _note(store)
        return
    except OSError as problem:
        explain(f"no housekeeping: {problem.strerror}")
        return
    if not -_DAY < age < _DAY and _note(store):
        from shim.retention import detaching  # the one call of the day

        detaching.start_housekeeping(store)


def _note(store: str) -> bool:
    """Note that it is being done now, first of all: once a day is enough; whether that worked."""
    stamp = _stamp(store)
    try:
        posix.close(posix.open(stamp, posix.O_WRONLY | posix.O_CREAT, 0o600))
        posix.utime(stamp)
    except OSError as problem:
        explain(f"no housekeeping: {problem.strerror}")
        return False
    return True


def _stamp(store: str) -> str:
    """The file whose time is when it was last started, for this directory of claude's."""
    directory = environment.get("CLAUDE_CONFIG_DIR")
    return f"{store}/{STAMP}{transcripts.project_name(directory)}"
