"""All that there is of a conversation on this machine: claude's files and the kept ones."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from typing import TYPE_CHECKING

from shim.base.session_key import is_session_id
from shim.claude import projects, transcripts
from shim.retention import pins, restoring
from shim.store import markers

if TYPE_CHECKING:
    from collections.abc import Iterable


def paths(store: str, session_id: str) -> list[str]:
    """Every file, link and directory that is the conversation's alone, the kept ones last.

    Those of another account's are found through what is kept.
    """
    if not is_session_id(session_id):  # a store can hold any text
        return []
    elsewhere = restoring.origin(store, session_id).rsplit("/", 3)[0]
    configs = dict.fromkeys(map(os.path.abspath, (transcripts.config_directory(), elsewhere)))
    found = [path for config in configs for path in projects.belongings(config, session_id)]
    beside = (markers.FORKS, markers.HOOKLESS, pins.FOLDER)
    own = [path for name in beside for path in projects.named_after(f"{store}/{name}", session_id)]
    return [*found, *own]


def size(found: Iterable[str]) -> int:
    """How many bytes the files have, each counted once whatever names it has."""
    sizes: dict[tuple[int, int], int] = {}
    for path in found:
        inside = [os.path.join(where, name) for where, _, names in os.walk(path) for name in names]
        for file in inside or [path]:
            with contextlib.suppress(OSError):
                status = os.lstat(file)
                if stat.S_ISREG(status.st_mode):
                    sizes[status.st_dev, status.st_ino] = status.st_size
    return sum(sizes.values())


def delete(store: str, session_id: str) -> None:
    """Delete all that there is of a conversation, for good. Raises OSError.

    No call puts it back meanwhile. The kept files go last: what is left by a kill is found again.
    """
    is_any_kept = os.path.isdir(f"{store}/{pins.FOLDER}")
    with restoring.locked(store) if is_any_kept else contextlib.nullcontext():
        for path in paths(store, session_id):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
