"""What a person is told: one line a warning, and why the wrapper decided as it did."""

import sys

from shim.base import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Whom everything is told instead of stderr, and whether it is a warning: `claude-shim explain`
# listens in.
listener: "Callable[[str, bool], None] | None" = None


class Failure(Exception):
    """Something cannot be done; the message says why, and what to do."""


def warn(message: str) -> None:
    """Write one line to stderr, if there is a stderr, and never fail.

    Callers search claude's own errors for `Session ID`, `already in use`, `not found`, `invalid`
    and `No conversation`; no message of ours uses these.
    """
    _write(message) if listener is None else listener(message, True)


def explain(message: str) -> None:
    """Write one line on a decision to stderr where `NSED_SHIM_DEBUG` asks for it."""
    if listener is not None:
        listener(message, False)
    elif environment.is_on("NSED_SHIM_DEBUG"):
        _write("debug: " + message)


def _write(message: str) -> None:
    # Names of rooms, agents and files can hold line ends; a warning is one line all the same.
    line = "claude-shim: " + " ".join(message.splitlines()) + "\n"
    # sys.stderr is None where the caller closed it: descriptor 2 is then some file of ours.
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        return
