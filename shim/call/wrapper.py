"""What runs when a caller runs `claude`: from its arguments to the real claude's, in order."""

import _signal
import posix
import sys

from shim.base import environment
from shim.base.messages import explain, warn
from shim.call import identity
from shim.claude import binary, invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from shim.call.continuing import Acts


def main(plugin: str) -> "NoReturn":
    """Become the real claude, continuing the conversation of this room and agent.

    `plugin` is the directory of our plugin for claude. Whatever goes wrong on the way is one
    warning, and claude runs as the caller asked.
    """
    _die_of_an_interrupt_as_claude_would()
    asked = _arguments()
    claude = binary.find()
    try:
        args, exports = prepare(asked, claude, plugin)
        explain(f"running {claude} with {args}")
        binary.become(claude, args, exports)
    except Exception as problem:
        warn_that_claude_runs_as_asked(problem)
    try:
        binary.become(claude, asked, {})
    except OSError as problem:
        warn(f"{claude} cannot be run: {problem.strerror}")
        sys.exit(binary.EXIT_CANNOT_RUN)


def prepare(
    args: list[str], claude: str, plugin: str, make_acts: "Callable[[str], Acts] | None" = None
) -> tuple[list[str], dict[str, bytes]]:
    """What to run claude with: its arguments, and what to set in its environment.

    `make_acts` makes other acts of the plugin's directory than the usual ones.
    """
    untouched: tuple[list[str], dict[str, bytes]] = (args, {})
    if environment.is_on("NSED_SHIM_DISABLE"):
        explain("NSED_SHIM_DISABLE is set: claude is left alone")
        return untouched
    opencode = identity.around(posix.environ)
    if identity.resolve(posix.environ, b"", opencode) is None:
        explain("neither a room nor an agent: claude is left alone")
        return untouched
    from shim.call import continuing  # an untouched call, on the way above, has no need of it

    acts = (make_acts or continuing.Acts)(plugin)
    asked = invocation.read(args, acts.surface(claude))
    agent = asked.value("--agent") or ""
    found = identity.resolve(posix.environ, agent.encode("utf-8", "surrogateescape"), opencode)
    if found is None:
        return untouched
    if asked.left_alone:
        explain(f"claude is left alone: {asked.left_alone}")
        fork = continuing.take_turns(found.key, asked, acts)
        return (args if fork is None else fork), {}
    explain(str(found))
    continued = continuing.command_line(found.key, asked, acts)
    if continued is None:
        return untouched
    from shim.claude import transcripts

    told = identity.exports(found.key, posix.environ)
    return continued, told | transcripts.exports(posix.environ)


def warn_that_claude_runs_as_asked(problem: Exception) -> None:
    """Say what went wrong on the way."""
    what = f"{type(problem).__name__}: {problem}"
    warn(f"claude runs as you asked, and its conversation is not kept ({what})")


def _die_of_an_interrupt_as_claude_would() -> None:
    # Python would raise KeyboardInterrupt, and show a traceback.
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)


def _arguments() -> list[str]:
    """The caller's arguments, as UTF-8 with surrogate escapes whatever the locale."""
    if sys.getfilesystemencoding() == "utf-8":
        return sys.argv[1:]
    # C's decoding of another encoding and Python's own codec for it don't always agree.
    with open("/proc/self/cmdline", "rb") as file:
        raw = file.read().split(b"\0")[:-1]
    return [arg.decode("utf-8", "surrogateescape") for arg in raw[len(raw) - len(sys.argv) + 1 :]]
