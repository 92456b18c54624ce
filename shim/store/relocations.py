"""moved.json beside the store: where the directories of another machine are on this one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shim.base import files
from shim.base.json_object import json_object
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_NAME = "moved.json"


def remember(store: str, directories: Mapping[str, str]) -> None:
    """Note where directories of another machine are here, beside those noted before.

    Raises OSError, Failure.
    """

    def add(_: int) -> None:
        text = json.dumps({**known(store), **directories}, indent=2)
        files.replace(f"{store}/{FILE_NAME}", text.encode())

    Store(store).locked(add, create=True)


def known(store: str) -> dict[str, str]:
    """Where each noted directory of another machine is here."""
    noted = json_object(files.read(f"{store}/{FILE_NAME}"))
    return {there: here for there, here in noted.items() if isinstance(here, str)}


def here(path: str, directories: Mapping[str, str]) -> str:
    """A path of another machine as it is here; the longest noted directory decides."""
    for there in sorted(directories, key=len, reverse=True):
        if path == there or path.startswith(there.rstrip("/") + "/"):
            return directories[there].rstrip("/") + path[len(there.rstrip("/")) :] or "/"
    return path
