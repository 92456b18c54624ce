"""The store that NSED and earlier versions used without HOME, taken over once by the user's own."""

import posix

from shim.base import files
from shim.base.messages import Failure, explain
from shim.store import document, locked_file, rewrite

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.store.document import Document
    from shim.store.history import Head

STAMP = "taken-over"


def take_over(path: str, temporary: str) -> None:
    """Add the mappings of a temporary sessions.json to this one, unless that was done before.

    Of a key that both have, the session used last is the head, and the other one an earlier head.
    The temporary store stays: an NSED worker without HOME still uses it.
    """
    own, other = path.rpartition("/")[0], temporary.rpartition("/")[0]
    if posix.access(f"{own}/{STAMP}", posix.F_OK) or not files.is_own_directory(other):
        return
    try:
        files.make_directory(own)
        theirs = locked_file.with_lock(temporary, lambda file: rewrite.load(temporary, file))
        if theirs:
            locked_file.with_lock(
                path,
                lambda file: rewrite.change(path, file, lambda ours: list(_add(ours, theirs))),
                create=True,
            )
            explain(f"the mappings of {temporary} are taken over")
        files.write_new(f"{own}/{STAMP}", b"")
    except (OSError, Failure) as problem:
        explain(f"the mappings of {temporary} are not taken over: {problem}")


def _add(ours: "Document", theirs: "Document") -> "Iterator[Head]":
    """Add mappings, and yield the heads that lose their place."""
    merged = document.merge(ours, theirs)
    for room, entries in merged.items():
        for agent, entry in entries.items():
            for mappings in (ours, theirs):
                other = mappings.get(room, {}).get(agent)
                if other is not None and other["uuid"] != entry["uuid"]:
                    yield room, agent, other
    ours.update(merged)
