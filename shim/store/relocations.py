"""moved.json beside the store: where the directories of another machine are on this one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shim.base import files

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "moved.json"


def remember(store: str, places: Mapping[str, str]) -> None:
    """Note of directories where they are here, beside those noted before. Raises OSError."""
    text = json.dumps({**known(store), **places}, indent=2)
    files.replace(f"{store}/{FILE_NAME}", text.encode())


def known(store: str) -> dict[str, str]:
    """Where each directory is here, as far as it was told."""
    try:
        with open(f"{store}/{FILE_NAME}", "rb") as file:
            places = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(places, dict):
        return {}
    return {old: new for old, new in places.items() if isinstance(new, str)}


def here(path: str, places: Mapping[str, str]) -> str:
    """A path of another machine as it is here; the longest directory that is known decides."""
    for old in sorted(places, key=len, reverse=True):
        if path == old or path.startswith(old.rstrip("/") + "/"):
            return places[old].rstrip("/") + path[len(old.rstrip("/")) :] or "/"
    return path
