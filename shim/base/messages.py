"""Messages on stderr: warnings, one line each, and explanations of the wrapper's decisions."""

import sys

from shim.base import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# Receives each message, and whether it is a warning, instead of stderr: `claude-shim explain` does.
listener: "Callable[[str, bool], None] | None" = None

# Whether stderr is that of a claude, which programs read, and not of `claude-shim`.
is_claudes_stderr = True

# What callers search claude's errors for and act on: NSED resumes, starts a new session or sleeps
# for minutes. With numbers behind `wait` and `retry in`, process ids and session ids.
_MISREAD = (
    r"session id|already in use|not found|invalid|no conversation|rate limit|overloaded"
    r"|limit reached|usage limit|quota|429|(?:wait|retry in) +(?=\d)"
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
)


# The exit code of a call or a command that found a conversation or the store in use: EX_TEMPFAIL.
EXIT_BUSY = 75


class Failure(Exception):
    """Something cannot be done; the message gives the reason and a way out."""

    exit_code = 1
    """Of `claude-shim`."""


def warn(message: str) -> None:
    """Write one line to stderr, if there is a stderr, and never fail.

    Control and other invisible characters are escaped, whoever wrote them. What a caller could
    mistake for one of claude's errors is left out of the finished line, names, paths and system
    messages included. With `NSED_SHIM_DEBUG` nothing is left out.
    """
    if listener is not None:
        listener(message, True)
    elif is_claudes_stderr and not environment.is_on("NSED_SHIM_DEBUG"):
        import re

        line = _printable(" ".join(message.split()))
        _write(re.sub(_MISREAD, "…", line, flags=re.IGNORECASE))
    else:
        _write(message)


def process(pid: int) -> str:
    """The name of a claude in a warning: with its pid for a person at a terminal only."""
    may_name = not is_claudes_stderr or environment.is_on("NSED_SHIM_DEBUG")
    if pid > 0 and (may_name or listener is not None or is_on_terminal()):
        return f"claude {pid}"
    return "another claude"


def explain(message: str) -> None:
    """Write one line about a decision to stderr, if `NSED_SHIM_DEBUG` is set."""
    if listener is not None:
        listener(message, False)
    elif is_explaining():
        _write("debug: " + message)


def is_explaining() -> bool:
    """Whether anybody reads explanations."""
    return listener is not None or environment.is_on("NSED_SHIM_DEBUG")


def is_on_terminal() -> bool:
    """Whether a person reads the warnings."""
    return sys.stderr is not None and sys.stderr.isatty()


def _printable(line: str) -> str:
    if line.isascii() and line.isprintable():
        return line
    from shim.base import plain_text  # seldom: it costs more than a warning

    return plain_text.printable(line)


def _write(message: str) -> None:
    # Names of rooms, agents and files can hold line ends; a warning is one line all the same.
    line = "claude-shim: " + _printable(" ".join(message.splitlines())) + "\n"
    # sys.stderr is None where the caller closed it: descriptor 2 is then some file of ours.
    if sys.stderr is None:
        return
    try:
        sys.stderr.write(line)
        sys.stderr.flush()
    except (OSError, ValueError):
        return
