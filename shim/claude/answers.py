"""Whether a turn's answer is in the transcript yet: claude writes it when its hooks have begun."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shim.claude import lines

if TYPE_CHECKING:
    from shim.claude.lines import Entry

# Bytes of a transcript's end in which it is looked for.
_TAIL = 4 << 20


def end_of(transcript: str, answer: str, after: int) -> int | None:
    """Where the line of an answer ends that comes behind a place; None where it is not there yet.

    It is claude's own word for it, `last_assistant_message` (help facts, "Hooks"): the text of the
    last message, of whose parts each is a line.
    """
    wanted = answer.strip()
    try:
        with lines.open_regular(transcript) as file:
            size = os.fstat(file.fileno()).st_size
            written = list(lines.forward(file, max(after, size - _TAIL), size))
    except OSError:
        return None
    found = None
    for line in written:
        what = lines.kind(line.entry) if line.is_whole else lines.OTHER
        if what == lines.ANSWER and _answers(line.entry, wanted):
            found = line.end
        elif found is not None and what in lines.BEGINNINGS:
            found = None  # of an earlier turn, in the same words
    return found


def _answers(entry: Entry, wanted: str) -> bool:
    said = [part.strip() for part in lines.texts(entry)]
    last = next((part for part in reversed(said) if part), "")
    return bool(last) and wanted.endswith(last)
