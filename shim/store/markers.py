"""What is noted of a conversation beside the store, in a file `<folder>/<session id>`.

Few conversations have any: a look tells, and what a mark means is loaded where there is one.
"""

import posix

from shim.base import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FORKS: "Final" = "forks"
HOOKLESS: "Final" = "unheard"


def is_there(store: str, folder: str, session_id: str) -> bool:
    """Whether a conversation has a mark."""
    return posix.access(path(store, folder, session_id), posix.F_OK)


def path(store: str, folder: str, session_id: str) -> str:
    """Where a conversation's mark is, if it has one."""
    return f"{store}/{folder}/{session_id}"


def content(store: str, folder: str, session_id: str) -> str:
    """What a mark says; empty where there is none."""
    return files.read(path(store, folder, session_id)).decode("ascii", "replace")
