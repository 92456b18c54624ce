"""Becoming the real claude: same pid, descriptors, environment and signals as without the shim."""

import _signal
import errno
import posix

from shim.base import environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import NoReturn

_STARTS_OF_COMMANDS = (b"#", b":", b".", b"/", b'"', b"$")


class Caller:
    """What the caller had that CPython changes as it starts, and its own name for claude.

    `signals` holds `P` where SIGPIPE was ignored and `X` where SIGXFSZ was. `lc_ctype` is that
    entry of the environment, whole, or empty. `name` is the caller's argv[0].
    """

    __slots__ = ("lc_ctype", "name", "signals")

    def __init__(self, signals: str, lc_ctype: str, name: str) -> None:
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
            if problem.errno != errno.ENOEXEC or not _begins_like_script(path):
                raise
            # A script without a first line: run as shells and execvp would.
            posix.execv("/bin/sh", [b"sh", program, *encoded])
    except OSError:
        for name, original in before.items():
            environment.put(name, original)
        raise


def _begins_like_script(path: str) -> bool:
    """Whether a file that the system refuses to execute is text that begins as shell scripts do.

    An interrupted update leaves an empty file or half a program, a proxy a page of HTML. The same
    rule is in launcher.c.
    """
    with open(path, "rb") as file:
        start = file.read(255)
    word = start.lstrip(b" \t\r\n")
    name, equals, _ = word.partition(b"=")
    letters = name.replace(b"_", b"A")
    is_assignment = equals and letters.isalnum() and letters.isupper() and not name[:1].isdigit()
    is_command = word.startswith(_STARTS_OF_COMMANDS) or word[:1].islower()
    return b"\0" not in start and bool(is_command or is_assignment)


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
