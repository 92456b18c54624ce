"""Every file of a conversation on this machine: claude's own and the retained ones."""

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
    """Every file, link and directory that is the conversation's alone, the retained ones last.

    What is under another config directory is found by the noted path of its transcript.
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
    """The size of these files in bytes; a file with several names is counted once."""
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
    """Permanently delete every file of a conversation. Raises OSError.

    No call restores it meanwhile. The retained files are deleted last, because what a kill leaves
    is found through them.
    """
    is_any_retained = os.path.isdir(f"{store}/{pins.FOLDER}")
    with restoring.locked(store) if is_any_retained else contextlib.nullcontext():
        for path in paths(store, session_id):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
