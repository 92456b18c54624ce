"""How a notice looks in a transcript: context that our hook gave, with the turns of others in it.

A notice tells a live claude which turns others had in its room (help facts, "Catching up").
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from shim.claude.lines import Entry

TAG: Final = "turns-of-others-in-this-room"
"""What stands around the text of a notice."""

_ID = re.compile(r'<turn id="([0-9a-f-]{36})"')


def heading(turn_id: str, about: str) -> str:
    """The tag that begins a turn in a notice; `about` says who had it and when."""
    return f'<turn id="{turn_id}" {about}>'


def is_notice(entry: Entry) -> bool:
    """Whether an entry is a notice of ours."""
    return _text(entry).startswith(f"<{TAG}>")


def ids(entry: Entry) -> list[str]:
    """The ids of the turns that a notice tells; none where it is something else."""
    said = _text(entry)
    return _ID.findall(said) if said.startswith(f"<{TAG}>") else []


def _text(entry: Entry) -> str:
    attached = entry.get("attachment")
    if not isinstance(attached, dict) or attached.get("type") != "hook_additional_context":
        return ""
    content = attached.get("content")
    parts = content if isinstance(content, list) else [content]
    return "\n".join(part for part in parts if isinstance(part, str)).lstrip()
