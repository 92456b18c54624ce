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
    for original in originals(transcript).values():
        if os.path.samefile(before, original):
            return True
        said = said or lineage.read(before)
        if lineage.read(original).has_all_of(said):
            return True
    return False


def is_original(sidecar: str) -> bool:
    """Whether a sidecar, by its path among them, is a longer transcript that claude replaced."""
    return sidecar.startswith(f"{_FOLDER}/") and sidecar.endswith(_REPLACED)


def originals(transcript: str) -> dict[str, str]:
    """The longer transcripts that claude replaced by this one, or by ones before it.

    Their paths by those among the sidecars.
    """
    beside = transcripts.sidecars_of(transcript)
    try:
        names = sorted(os.listdir(f"{beside}/{_FOLDER}"))
    except OSError:
        return {}
    found = [f"{_FOLDER}/{name}" for name in names if name.endswith(_REPLACED)]
    return {name: f"{beside}/{name}" for name in found}
