"""Conversations that `/clear` began, recognized by the first lines of their transcripts.

The first user lines of such a transcript are claude's caveat and the command (measured in streams
and at terminals on 2.1.197, 2.1.330 and 2.1.331).
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING

from shim.base import stamps
from shim.claude import lines, projects, transcripts

if TYPE_CHECKING:
    from collections.abc import Collection

_COMMAND = "<command-name>/clear</command-name>"
_CAVEAT = "<local-command-caveat>"
# So many of claude's own lines may precede the command.
_LINES = 20
# Bytes of the transcript in which they are.
_BEGINNING = 1 << 20


def begun_since(transcript: str, moment: float, known: Collection[str]) -> str | None:
    """The conversation that `/clear` began in a transcript's project since a moment, or None.

    `moment` is in seconds of the system's clock. `known` conversations are not considered. None if
    there are several, as nothing tells them apart. Raises OSError.
    """
    found = []
    for path in projects.transcripts_in(os.path.dirname(transcript)):
        session_id = transcripts.session_id_of(path)
        if session_id not in known and os.stat(path).st_mtime >= moment:
            began = _began(path)
            if began is not None and began >= moment:
                found.append(session_id)
    return found[0] if len(found) == 1 else None


def _began(path: str) -> float | None:
    """When `/clear` began a conversation, in seconds of the system's clock; None if it did not."""
    with lines.open_regular(path) as file:
        for line in itertools.islice(lines.forward(file, 0, _BEGINNING), _LINES):
            entry = line.entry
            if not lines.is_message(entry) or entry["type"] != "user":
                continue
            said = lines.text(entry)
            if _COMMAND in said:
                began = stamps.nanoseconds(entry.get("timestamp"))
                return None if began is None else began / 1e9
            if not said.startswith(_CAVEAT):
                return None
    return None
