"""What runs when a caller runs `claude`: from its arguments to the real claude's, in order."""

import _signal
import posix
import sys

from shim.base import environment
from shim.base.messages import explain, warn
from shim.call import becoming, identity, resuming
from shim.call.call import Call
from shim.call.effects import Effects
from shim.claude import child_environment
from shim.claude.cli_spec import built_in
from shim.claude.invocation import Invocation

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

# Of a program that is there and cannot be run, as in shells.
_EXIT_CANNOT_RUN = 126
# Of a trial start, as launcher.c has it.
_READY = 86


def main(plugin: str, version: tuple[int, int], handed: "Sequence[str]") -> "NoReturn":
    """Become the real claude, resuming the conversation of this room and agent.

    `plugin` is the directory of our plugin for claude, `version` that of Python at install.
    `handed` is what the launcher passes: its own path, what CPython was going to change (see
    `Caller`), the claude that it found, and the caller's whole command line; or `ready?` in a trial
    start. Whatever goes wrong on the way is one warning, and claude runs as the caller asked.
    """
    if handed == ["ready?"]:
        posix._exit(_READY)
    if sys.version_info[:2] != version:
        warn("Python is of another version now: run `claude-shim install` again")
    _die_of_an_interrupt_as_claude_would()
    launcher, signals, lc_ctype, claude, name, *asked = handed
    caller = becoming.Caller(launcher, signals, lc_ctype, name)
    try:
        if environment.is_on("NSED_SHIM_DEBUG"):
            _explain_misspelt_variables()
        args, changes = prepare(asked, claude, plugin)
        explain(f"running {claude} with {args}")
        becoming.become(claude, args, changes, caller)
    except Exception as problem:
        if environment.is_on("NSED_SHIM_DEBUG"):
            sys.excepthook(type(problem), problem, problem.__traceback__)
        warn_of_no_management(problem)
    try:
        becoming.become(claude, asked, {}, caller)
    except OSError as problem:
        warn(f"{claude} cannot be run: {problem.strerror}")
        sys.exit(_EXIT_CANNOT_RUN)


def prepare(
    args: list[str], claude: str, plugin: str, make_effects: "Callable[[str], Effects]" = Effects
) -> tuple[list[str], dict[str, bytes]]:
    """What to run claude with: its arguments, and what to set in its environment.

    `make_effects` makes the effects, or their dry run, for the directory of our plugin.
    """
    untouched: tuple[list[str], dict[str, bytes]] = (args, {})
    environ = identity.with_workers_names(posix.environ)
    opencode = identity.opencode_names(environ)
    found = identity.resolve(environ, b"", opencode)
    if found is None:
        explain("neither a room nor an agent: claude is left alone")
        return untouched
    if found.is_inherited and not _is_from_inside(found, args, environ):
        return untouched
    effects = make_effects(plugin)
    invocation = Invocation(args, effects.sessions.cli_spec(claude))
    agent = invocation.value("--agent") or ""
    found = identity.resolve(environ, agent.encode("utf-8", "surrogateescape"), opencode)
    if found is None:
        return untouched
    if found.is_inherited and not found.has_agent:
        explain(f"{found}: the call comes from inside, claude is left alone")
        return untouched
    if invocation.left_alone:
        explain(f"claude is left alone: {invocation.left_alone}")
        call = Call(found.key, invocation, invocation.explicit_session_id, moves_head=False)
        return resuming.run_as_asked(call, effects) or args, {}
    explain(str(found))
    call = Call(found.key, invocation, invocation.value("--session-id"))
    resumed = resuming.resume(call, effects)
    if resumed is None:
        return untouched
    added = identity.variables_inside(found.key, environ) | child_environment.variables(
        invocation, environ
    )
    return resumed, added


def _explain_misspelt_variables() -> None:
    from shim.base import settings  # a call that explains itself may take longer

    for name, meant in settings.misspelt(name.decode("utf-8", "replace") for name in posix.environ):
        explain(settings.hint(name, meant))


def _is_from_inside(
    found: identity.Identity, args: list[str], environ: "Mapping[bytes, bytes]"
) -> bool:
    """Whether a call comes from inside the claude whose room it inherits; else it is left alone.

    Such a call is one of a program that outlived that claude, or was detached from it.
    """
    from shim.call import outer_claude  # few calls inherit a room

    process = identity.outer_process(environ)
    if outer_claude.is_around(*process):
        return True
    explain(f"{found}: not from inside that claude, which is left alone")
    if not Invocation(args, built_in()).left_alone:
        outer_claude.warn_of_inherited(found.key, *process)
    return False


def warn_of_no_management(problem: Exception) -> None:
    """Say what went wrong on the way."""
    warn(f"running claude without session management: {type(problem).__name__}: {problem}")


def _die_of_an_interrupt_as_claude_would() -> None:
    # Python would raise KeyboardInterrupt, and show a traceback.
    if _signal.getsignal(_signal.SIGINT) is not _signal.SIG_IGN:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
