"""The title of a fork, which claude on a terminal shows above its prompt."""

from __future__ import annotations

import re

from shim.base.plain_text import printable
from shim.claude import summary

# What version 0.2.0 called a copy may stand in a title for years.
_MARK = re.compile(r" ?\((?:copy|fork) [0-9a-f]{4}\)$")
# Characters of the topic: at 40 columns claude cuts a name of more than 36 in all.
_LONGEST = 22
# And of the id, of which `link` takes as many.
_PREFIX = 4


def title(transcript: str, session_id: str) -> str:
    """The topic of a transcript's conversation, and which fork of it this is.

    Claude (2.1.331) renames the second of two live sessions of one name, and prints that it does.
    """
    try:
        about = summary.read(transcript).about or ""
    except OSError:
        about = ""
    words = _MARK.sub("", printable(" ".join(about.split())))
    cut = words if len(words) <= _LONGEST else f"{words[:_LONGEST].rstrip()}…"
    return f"{cut} (fork {session_id[:_PREFIX]})".lstrip()
