"""The name of a copy of a conversation, which claude on a terminal shows above its prompt."""

from __future__ import annotations

from shim.base.plain_text import printable
from shim.claude import summary

_MARK = " (copy)"
# Characters of what the conversation is about.
_LONGEST = 30


def of_copy(transcript: str) -> str:
    """What the conversation of a transcript is about, and that this is a copy of it."""
    try:
        about = summary.of(transcript).about or ""
    except OSError:
        about = ""
    words = printable(" ".join(about.split())).removesuffix(_MARK)
    cut = words if len(words) <= _LONGEST else f"{words[:_LONGEST].rstrip()}…"
    return f"{cut}{_MARK}".lstrip()
