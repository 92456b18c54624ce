"""The entry point of `claude-shim`: streams, exit codes, and errors as one line."""

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> "NoReturn":
    """Run `claude-shim`. It exits with 0 on success, 1 on failure, 2 on wrong usage, 75 if busy.

    An error is one line on stderr.
    """
    if sys.platform == "win32":
        sys.exit("claude-shim: Windows has no execve: claude-shim runs on Linux and macOS")
    _open_closed_streams()

    import gc
    import io
    import signal

    import click

    from shim.base import environment, messages
    from shim.commands.claude_shim import group

    # A store of 100,000 entries makes no garbage, but the collector takes a third of the time.
    gc.set_threshold(100_000)
    messages.is_claudes_stderr = False
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `claude-shim list | head`
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that a locale cannot encode
    try:
        try:
            sys.exit(group(standalone_mode=False, color=_forces_colours() or None))
        finally:
            _flush()
    except click.Abort:
        sys.exit(130)
    except click.UsageError as problem:
        path = problem.ctx.command_path if problem.ctx else "claude-shim"
        # Click puts choices on lines of their own.
        said = " ".join(problem.format_message().split())
        end = "" if said.endswith((".", "?")) else "."
        messages.warn(f"{said}{end} `{path} --help` helps.")
        sys.exit(problem.exit_code)
    except click.ClickException as problem:
        messages.warn(problem.format_message())
        sys.exit(problem.exit_code)
    except messages.Failure as problem:
        messages.warn(str(problem))
        sys.exit(problem.exit_code)
    except OSError as problem:
        messages.warn(str(problem))
        sys.exit(1)
    except Exception as problem:
        if environment.is_on("NSED_SHIM_DEBUG"):
            raise
        what = f"{type(problem).__name__}: {problem}"
        messages.warn(f"{what} (a bug: please report what NSED_SHIM_DEBUG=1 adds)")
        sys.exit(1)


def _end(number: int, _frame: object) -> "NoReturn":
    """Exit as if killed by a signal, but run the clean-up handlers first."""
    sys.exit(128 + number)


def _forces_colours() -> bool:
    """Whether colours are wanted in a pipe, too. NO_COLOR still wins."""
    from shim.base import environment

    return environment.is_on("FORCE_COLOR") or environment.is_on("CLICOLOR_FORCE")


def _open_closed_streams() -> None:
    """Open /dev/null for streams that the caller closed, lest a file gets their number."""
    import os

    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


def _flush() -> None:
    """Flush stdout. Raises OSError, and then drops what is left."""
    import os

    try:
        sys.stdout.flush()
    except OSError as problem:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OSError(f"stdout cannot be written: {problem.strerror}") from problem


if __name__ == "__main__":
    main()
