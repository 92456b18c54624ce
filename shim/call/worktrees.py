"""The working tree that a conversation lived in, and whether this directory is in another.

Commits of a conversation that is resumed in another worktree land on the wrong branch (claude-code
issues 80014 and 85339). Loaded where a person, or `explain`, is to read about it.
"""

import os

from shim.claude import summary


def other_than_here(transcript: str) -> str | None:
    """The directory a conversation lived in, where that is in another tree than this one.

    A tree is a repository's or a worktree's; a directory in neither is one by itself. None where
    it is unknown.
    """
    try:
        lived_in, here = summary.read(transcript).directory, os.getcwd()
    except OSError:
        return None
    if lived_in is None or _tree(lived_in) == _tree(here):
        return None
    return lived_in


def _tree(directory: str) -> str:
    """The root of the tree of a directory: where git has its directory, or a worktree its file."""
    where = os.path.realpath(directory)
    while not os.path.lexists(f"{where}/.git"):
        parent = os.path.dirname(where)
        if parent == where:
            return os.path.realpath(directory)
        where = parent
    return where
