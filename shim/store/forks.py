"""Of each fork, which conversation it was made of: that goes on while nothing was said in the fork.

A file `forks/<session id of the fork>` beside the store holds the other session id. Who made the
fork writes it, before claude runs it.
"""

import posix

from shim.base import files
from shim.base.messages import Failure, explain
from shim.base.session_key import is_session_id

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FOLDER: "Final" = "forks"

_LENGTH = 36


def note(store: str, fork: str, parent: str) -> None:
    """Note of which conversation a fork is. Where that fails, the fork has no parent."""
    try:
        files.make_directory(f"{store}/{FOLDER}")
        files.write_new(_path(store, fork), parent.encode())
    except FileExistsError:
        return
    except (OSError, Failure) as problem:
        explain(f"of what {fork} is a fork cannot be noted: {problem}")


def parent(store: str, fork: str) -> str | None:
    """The session id of the conversation that a fork is of; None where that is not known."""
    try:
        file = posix.open(_path(store, fork), posix.O_RDONLY | posix.O_NONBLOCK)
    except OSError:
        return None
    try:
        named = posix.read(file, _LENGTH).decode("ascii", "replace")
    finally:
        posix.close(file)
    return named if is_session_id(named) else None


def is_known(store: str, fork: str) -> bool:
    """Whether a conversation is noted as a fork."""
    return posix.access(_path(store, fork), posix.F_OK)


def _path(store: str, fork: str) -> str:
    return f"{store}/{FOLDER}/{fork}"
