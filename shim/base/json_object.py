"""JSON that other programs wrote, and that may be damaged or something else altogether."""

import json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def json_object(data: str | bytes) -> "dict[str, Any]":
    """The JSON object in a text; an empty one where the text is no JSON, or no object."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):  # RecursionError: nested deeper than Python's stack
        return {}
    return found if isinstance(found, dict) else {}
