"""What a person is told: one line a warning, and why the wrapper decided as it did."""

import sys

from shim.base import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Whom everything is told instead of stderr, and whether it is a warning: `claude-shim explain`
# listens in.
listener: "Callable[[str, bool], None] | None" = None

# Whether stderr is that of a call of claude, which programs read, and not of `claude-shim`.
is_claudes_stderr = True

# What callers look for in claude's own errors, and act on: NSED resumes, starts anew or sleeps for
# minutes. With numbers behind `wait` and `retry in`, process ids and session ids.
_MISREAD = (
    r"session id|already in use|not found|invalid|no conversation|rate limit|overloaded"
    r"|limit reached|usage limit|quota|429|(?:wait|retry in) +(?=\d)"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


class Failure(Exception):
    """Something cannot be done; the message says why, and what to do."""


def warn(message: str) -> None:
    """Write one line to stderr, if there is a stderr, and never fail.

    What a caller could take for something else is left out of the finished line, with names, paths
    and the system's own words in it. `NSED_SHIM_DEBUG` has it all.
    """
    if listener is not None:
        listener(message, True)
    elif is_claudes_stderr and not environment.is_on("NSED_SHIM_DEBUG"):
        import re

        _write(re.sub(_MISREAD, "…", " ".join(message.split()), flags=re.IGNORECASE))
    else:
        _write(message)


def process(pid: int) -> str:
    """How a warning names a claude: by its pid for a person at a terminal, and not for programs."""
    may_name = not is_claudes_stderr or environment.is_on("NSED_SHIM_DEBUG")
    if pid > 0 and (may_name or listener is not None or is_on_terminal()):
        return f"claude {pid}"
    return "another claude"


def explain(message: str) -> None:
    """Write one line on a decision to stderr where `NSED_SHIM_DEBUG` asks for it."""
    if listener is not None:
        listener(message, False)
    elif is_explaining():
        _write("debug: " + message)


def is_explaining() -> bool:
    """Whether anybody hears what is explained."""
    return listener is not None or environment.is_on("NSED_SHIM_DEBUG")


def is_on_terminal() -> bool:
    """Whether a person reads what is warned of."""
    return sys.stderr is not None and sys.stderr.isatty()


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
