"""What is noted of a conversation beside the store, in a file `<folder>/<session id>`.

Few conversations have any: a look tells, and what a mark means is loaded where there is one.
"""

import posix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FORKS: "Final" = "forks"
UNHEARD: "Final" = "unheard"

_LONGEST = 64


def is_there(store: str, folder: str, session_id: str) -> bool:
    """Whether a conversation has a mark."""
    return posix.access(path(store, folder, session_id), posix.F_OK)


def path(store: str, folder: str, session_id: str) -> str:
    """Where a conversation's mark is, if it has one."""
    return f"{store}/{folder}/{session_id}"


def content(store: str, folder: str, session_id: str) -> str:
    """What a mark says; empty where there is none."""
    try:
        file = posix.open(path(store, folder, session_id), posix.O_RDONLY | posix.O_NONBLOCK)
    except OSError:
        return ""
    try:
        return posix.read(file, _LONGEST).decode("ascii", "replace")
    finally:
        posix.close(file)
