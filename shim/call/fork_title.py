"""The name of a copy of a conversation, which claude on a terminal shows above its prompt."""

from __future__ import annotations

import re

from shim.base.plain_text import printable
from shim.claude import summary

_MARK = re.compile(r" ?\(copy [0-9a-f]{4}\)$")
# Characters of what the conversation is about: at 40 columns claude cuts a name of more than 36 in
# all. And of the id: `link` takes as many.
_LONGEST = 22
_BEGINNING = 4


def of_copy(transcript: str, session_id: str) -> str:
    """What the conversation of a transcript is about, and that this is a copy of it, and which.

    Claude (2.1.331) gives the second of two live ones of one name another, and says so.
    """
    try:
        about = summary.of(transcript).about or ""
    except OSError:
        about = ""
    words = _MARK.sub("", printable(" ".join(about.split())))
    cut = words if len(words) <= _LONGEST else f"{words[:_LONGEST].rstrip()}…"
    return f"{cut} (copy {session_id[:_BEGINNING]})".lstrip()
