"""The claude whose names a call inherits: whether it is around the call, or still runs.

Loaded where a call inherits names, which is rare.
"""

import os

import psutil

from shim.base.messages import warn
from shim.base.plain_text import command_line
from shim.base.session_key import SessionKey
from shim.claude import registry

# Seconds by which two clocks of one system may differ.
_TOLERANCE = 1.0


def is_around(pid: int, start: str) -> bool:
    """Whether a process is this one or an ancestor of it; True for pid 0, which is not known."""
    if not pid:
        return True
    try:
        around = {os.getpid(), *(process.pid for process in psutil.Process().parents())}
    except psutil.Error:
        around = {os.getpid(), os.getppid()}
    return pid in around and is_live(pid, start)


def is_live(pid: int, start: str) -> bool:
    """Whether the process runs, and is no later one with its pid.

    `start` is when it was started, as Linux counts, or a moment at which it ran, in seconds.
    """
    if start.isdigit():
        return registry.start_of(pid) == start
    try:
        return psutil.Process(pid).create_time() <= float(start) + _TOLERANCE
    except (psutil.Error, ValueError):
        return False


def warn_of_inherited(key: SessionKey, pid: int, start: str) -> None:
    """Say that a call does not mean the room that it inherits, and how to mean it."""
    named = f"room {key.room!r}" if key.room else f"agent {key.agent!r}"
    whose = "did not start this command" if is_live(pid, start) else "has ended"
    how = command_line("open", key.room, *([] if key.room else [key.agent]))
    warn(
        f"{named} is inherited from a claude that {whose}, and not used; to use it, run `{how}`,"
        " or unset NSED_SHIM_ROOM"
    )
