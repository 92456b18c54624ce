"""Transcripts that claude replaced by a shorter one, with `CLAUDE_CODE_TRANSCRIPT_LOCAL_GC`.

With `keep` it first links the longer one into the sidecars (help facts, "Clean-up").
"""

from __future__ import annotations

import os

from shim.claude import lineage, transcripts

_FOLDER = "before-cleanup"
_REPLACED = ".jsonl.replaced"


def was_shortened(before: str, transcript: str) -> bool:
    """Whether a file, or what it is a copy of, is what claude replaced by this transcript.

    Raises OSError.
    """
    said = None
    for original in _originals(transcript):
        if os.path.samefile(before, original):
            return True
        said = said or lineage.read(before)
        if lineage.read(original).has_all_of(said):
            return True
    return False


def _originals(transcript: str) -> list[str]:
    folder = f"{transcripts.sidecars_of(transcript)}/{_FOLDER}"
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    return [f"{folder}/{name}" for name in sorted(names) if name.endswith(_REPLACED)]
