"""Conversations that the API refuses: each of their last turns ended in an API error."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shim.claude import lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shim.claude.lines import Entry

# One turn may fail for a moment's reason; of two in a row, the reason is in the conversation.
_TURNS = 2
# Bytes at a transcript's end: those that tell most transcripts without a failure, and all that
# are looked at.
_GLANCE = 1 << 16
_TAIL = 1 << 20
_MARK = b'"isApiErrorMessage"'
_COMPACTED = "compact_boundary"


def error(path: str) -> str | None:
    """The API error in which the last turns of a transcript ended; None where one was answered.

    Raises OSError.
    """
    with lines.open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        if _MARK not in os.pread(file.fileno(), _GLANCE, max(size - _GLANCE, 0)):
            return None
        last = (line.entry for line in lines.backward(file, max(size - _TAIL, 0)))
        return _error(last)


def _error(backward: Iterable[Entry]) -> str | None:
    """The error of the last turn, if it and the one before failed; of entries, the last first."""
    failed, found, has_failed = 0, "", False
    for entry in backward:
        what = lines.kind(entry)
        if what == lines.FAILURE:
            has_failed = True
            found = found or " ".join(lines.text(entry).split())
        elif what in lines.BEGINNINGS and has_failed:
            failed, has_failed = failed + 1, False
            if failed == _TURNS:
                return found
        elif _is_success(entry, what) and not has_failed:
            return None
    return None


def _is_success(entry: Entry, what: str) -> bool:
    """Whether the conversation went on there: a turn ended, or it was compacted."""
    if what == lines.ANSWER:
        return lines.is_ending(entry)
    is_note = what in (lines.INTERRUPTION, lines.STOPPED)
    return is_note or entry.get("subtype") == _COMPACTED
