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


def config_directories(store: str, known: Iterable[str] = ()) -> list[str]:
    """Claude's config directories in which conversations of a store may be, the current one first.

    Others are those of the noted transcripts, and of those whose paths are `known`.
    """
    noted = [*known]
    folder = f"{store}/{pins.FOLDER}"
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for name in os.listdir(folder):
            if name.endswith(pins.FROM):
                with contextlib.suppress(OSError):
                    noted.append(os.readlink(f"{folder}/{name}"))
    configs = dict.fromkeys(map(transcripts.config_directory_of, noted))
    return list(dict.fromkeys(map(os.path.abspath, (transcripts.config_directory(), *configs))))


def paths(store: str, session_id: str, configs: Iterable[str]) -> list[str]:
    """Every file, link and directory that is the conversation's alone, the retained ones last.

    `configs` are the config directories in which it may be.
    """
    if not is_session_id(session_id):  # a store can hold any text
        return []
    found = [path for config in configs for path in projects.belongings(config, session_id)]
    noted = (markers.FORKS, markers.FORKED, markers.LEFT, markers.TASKS, markers.HOOKLESS)
    beside = (*noted, pins.FOLDER)
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


def delete(store: str, session_id: str, configs: Iterable[str]) -> None:
    """Permanently delete every file of a conversation. Raises OSError.

    No call restores it meanwhile. The retained files are deleted last, because what a kill leaves
    is found through them.
    """
    is_any_retained = os.path.isdir(f"{store}/{pins.FOLDER}")
    with restoring.locked(store) if is_any_retained else contextlib.nullcontext():
        for path in paths(store, session_id, configs):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
