"""The folder of kept conversations beside the store, and what stands in it.

`kept/<session id>.jsonl` is the transcript itself under a second name: it costs nothing, grows with
the conversation, and is still there when claude has deleted the first (FACTS.md, "clean-up").
`kept/<session id>.from` is a symbolic link that says where the first name was.
"""

import posix

from shim.base import environment
from shim.base.messages import warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

NAME: "Final" = "kept"
ENDING: "Final" = ".jsonl"
_ORIGIN = ".from"
_DAYS = 365.0


def days() -> float:
    """`NSED_KEEP_DAYS`: for how many idle days a conversation is kept. 0 keeps nothing."""
    text = environment.get("NSED_KEEP_DAYS")
    if not text:
        return _DAYS
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        warn(f"NSED_KEEP_DAYS={text} is no number of days: {_DAYS:g} is taken")
        return _DAYS
    return number


def path(store: str, session_id: str) -> str:
    """Where a conversation is kept, if it is."""
    return f"{store}/{NAME}/{session_id}{ENDING}"


def origin_of(kept: str) -> str:
    """What says where a kept file's transcript was."""
    return kept.removesuffix(ENDING) + _ORIGIN


def is_kept(store: str, session_id: str) -> bool:
    """Whether the conversation has a kept file."""
    try:
        posix.lstat(path(store, session_id))
    except OSError:
        return False
    return True


def session_ids(store: str) -> list[str]:
    """The conversations that are kept. Raises OSError where that cannot be told."""
    try:
        names = posix.listdir(f"{store}/{NAME}")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [name.removesuffix(ENDING) for name in names if name.endswith(ENDING)]
