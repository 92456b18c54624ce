"""Finding the real claude, and becoming it."""

import _signal
import posix
import sys
import time

from shim.base import environment, files
from shim.base.messages import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Final, NoReturn

# Stands near the top of every launcher of ours: how one is told from any other program.
LAUNCHER_MARK: "Final" = b"# claude-shim launcher"
_MARK_WITHIN = 1024

# Those without a slash in front are in the home directory.
_USUAL_PLACES = (
    ".local/bin",
    ".claude/local",
    ".npm-global/bin",
    "/usr/local/bin",
    "node_modules/.bin",
    ".yarn/bin",
)
# Where execvp looks without PATH.
_DEFAULT_PATH = "/bin:/usr/bin"

EXIT_CANNOT_RUN: "Final" = 126
EXIT_NO_CLAUDE: "Final" = 127

# Another tool's wrapper that looks for `claude` along PATH can come back to us in the same
# process, for ever. Nothing may be left in the environment of a call that should reach claude
# untouched; but exec does not reset the processor time a process has used, and only a loop (or a
# caller that worked hard before its exec) has used this many seconds. From then on each round
# leaves a mark that the next one sees.
_ROUNDS_ARE_SUSPICIOUS_AFTER = 0.5
_CHAIN = "NSED_SHIM_CHAIN"

# What CPython sets LC_CTYPE to in the C locale (PEP 538).
_COERCED_LOCALES = ("C.UTF-8", "C.utf8", "UTF-8")


def candidates() -> "Iterator[str]":
    """Yield each real claude, the one to use first: executable files that are no launcher of ours.

    `NSED_CLAUDE_BIN`, then PATH, then the usual places.
    """
    path_directories = (environment.get("PATH") or _DEFAULT_PATH).split(":")
    named = environment.get("NSED_CLAUDE_BIN")
    if named:
        places = [named] if "/" in named else [_join(where, named) for where in path_directories]
        found = [path for path in places if is_real_claude(path)]
        if not found:
            warn(f"NSED_CLAUDE_BIN={named} is no program to run as claude; looking along PATH")
        yield from found
    for directory in path_directories:
        path = _join(directory, "claude")
        if is_real_claude(path):
            yield path
    for directory in _USUAL_PLACES:
        path = directory if directory.startswith("/") else environment.in_home(directory)
        if is_real_claude(path + "/claude"):
            yield path + "/claude"


def is_real_claude(path: str) -> bool:
    """Whether the path is an executable file and, by its content, no launcher of ours."""
    try:
        is_file = files.is_regular(posix.stat(path))
    except (OSError, ValueError):
        return False
    return is_file and posix.access(path, posix.X_OK) and not is_launcher(path)


def is_launcher(path: str) -> bool:
    """Whether the file is a launcher of ours, by its content: copies and links count too."""
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK)
    except OSError:
        return False  # a program may be executable and yet not readable
    try:
        return LAUNCHER_MARK in posix.read(file, _MARK_WITHIN)
    except OSError:
        return False
    finally:
        posix.close(file)


def find() -> str:
    """The real claude to become.

    Exits 127 where there is none, and 126 where all there are have come back to this launcher.
    """
    pid, _, seen = environment.get(_CHAIN).partition(":")
    environment.put(_CHAIN, None)
    tried = seen.split(":") if pid == str(posix.getpid()) else []
    for path in candidates():
        if path not in tried:
            if time.process_time() > _ROUNDS_ARE_SUSPICIOUS_AFTER:
                mark = ":".join([str(posix.getpid()), *tried, path])
                environment.put(_CHAIN, mark)
            return path
    if tried:
        warn(
            f"{' and '.join(tried)} only came back to this launcher, and there is no other claude:"
            " name the real one in NSED_CLAUDE_BIN"
        )
        sys.exit(EXIT_CANNOT_RUN)
    warn(
        "there is no claude to run, neither on PATH nor in the usual places: install it with"
        " `npm install -g @anthropic-ai/claude-code`, or name it in NSED_CLAUDE_BIN"
    )
    sys.exit(EXIT_NO_CLAUDE)


def become(path: str, args: "Sequence[str]", exports: "Mapping[str, bytes]") -> "NoReturn":
    """Become the program: same pid, descriptors, environment and signals as without the shim.

    `exports` are set in its environment. `args` are UTF-8 with surrogate escapes, whatever the
    locale. Raises OSError, with the environment as it was, where the system refuses.
    """
    _undo_start_up()
    before = {name: posix.environ.get(name.encode()) for name in exports}
    for name, value in exports.items():
        environment.put(name, value)
    try:
        # execv, not execve: it hands down C's own environment, which keeps what Python's mapping
        # of it cannot hold (an entry without `=`, the second of two with one name).
        encoded = [arg.encode("utf-8", "surrogateescape") for arg in args]
        try:
            posix.execv(path, [b"claude", *encoded])
        except OSError as problem:
            import errno

            if problem.errno != errno.ENOEXEC:
                raise
            # A script without a first line: run as shells and execvp would.
            posix.execv("/bin/sh", [b"sh", path.encode("utf-8", "surrogateescape"), *encoded])
    except OSError:
        for name, original in before.items():
            environment.put(name, original)
        raise


def _undo_start_up() -> None:
    """Put back what CPython changes as it starts and an exec would hand down."""
    for number in (_signal.SIGPIPE, getattr(_signal, "SIGXFSZ", None)):
        if number is not None:
            _signal.signal(number, _signal.SIG_DFL)
    # CPython is in UTF-8 mode, under -I, exactly where the locale was C as it started; it has
    # then set LC_CTYPE, unless LC_ALL overrides it anyway (PEP 538, PEP 540).
    if sys.flags.utf8_mode and environment.get("LC_CTYPE") in _COERCED_LOCALES:
        environment.put("LC_CTYPE", _variable_at_start(b"LC_CTYPE"))


def _variable_at_start(name: bytes) -> bytes | None:
    """A variable as this process was given it, or None; where no /proc tells, None."""
    try:
        with open("/proc/self/environ", "rb") as file:
            block = file.read()
    except OSError:
        return None
    prefix = name + b"="
    return next(
        (entry[len(prefix) :] for entry in block.split(b"\0") if entry.startswith(prefix)), None
    )


def _join(directory: str, name: str) -> str:
    return f"{directory or '.'}/{name}"
