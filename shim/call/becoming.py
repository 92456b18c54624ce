"""Becoming the real claude: same pid, descriptors, environment and signals as without the shim."""

import _signal
import errno
import posix

from shim.base import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn


class Caller:
    """The launcher's path, what it had that CPython changes as it starts, and its argv[0].

    `signals` holds `P` if SIGPIPE was ignored and `X` if SIGXFSZ was. `lc_ctype` is that entry of
    the environment, whole, or empty.
    """

    __slots__ = ("launcher", "lc_ctype", "name", "signals")

    def __init__(self, launcher: str, signals: str, lc_ctype: str, name: str) -> None:
        self.launcher = launcher
        self.signals = signals
        self.lc_ctype = lc_ctype
        self.name = name


def become(
    path: str, args: "Sequence[str]", added: "Mapping[str, bytes]", caller: Caller
) -> "NoReturn":
    """Become the program, with `added` set in its environment.

    `args` are UTF-8 with surrogate escapes. Raises OSError, with the environment as it was, where
    the system refuses.
    """
    _undo_start_up(caller)
    before = {name: posix.environ.get(name.encode()) for name in added}
    for name, value in added.items():
        environment.put(name, value)
    try:
        # execv, not execve: it hands down C's own environment, which keeps what Python's mapping
        # of it cannot hold (an entry without `=`, the second of two with one name).
        program, called, *encoded = map(_bytes, (path, caller.name or "claude", *args))
        try:
            posix.execv(program, [called, *encoded])
        except OSError as problem:
            if problem.errno != errno.ENOEXEC:
                raise
            # Whether it is a script for sh, the launcher judges.
            posix.execv(_bytes(caller.launcher), [b"claude-shim-run", program, called, *encoded])
    except OSError:
        for name, original in before.items():
            environment.put(name, original)
        raise


def _undo_start_up(caller: Caller) -> None:
    """Undo what CPython changes as it starts and an exec would hand down."""
    for letter, number in (("P", _signal.SIGPIPE), ("X", _signal.SIGXFSZ)):
        ignored = letter in caller.signals
        _signal.signal(number, _signal.SIG_IGN if ignored else _signal.SIG_DFL)
    # In the C locale it has set LC_CTYPE (PEP 538).
    _, is_set, value = caller.lc_ctype.partition("=")
    environment.put("LC_CTYPE", _bytes(value) if is_set else None)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
