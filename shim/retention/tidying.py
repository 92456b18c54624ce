"""Removing plugin links and markers that no call can need.

A claude whose plugin link is removed prints an error, so a link stays as long as any process, or
any job in the background, has it on its command line.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from typing import TYPE_CHECKING

import psutil

from shim.base import stamps, times
from shim.claude import background_jobs
from shim.store import markers, plugin_links

if TYPE_CHECKING:
    from collections.abc import Collection

    from shim.base.session_key import SessionKey
    from shim.store.document import Document

_MONTH = 30 * times.DAY
# Days without use after which a mapped key's links are removed; its next call makes them anew.
_UNUSED = 90


def tidy(store: str, mappings: Document, there: Collection[str]) -> None:
    """Remove the links of keys long unused, and markers a month old that no call will read.

    `there` are the conversations that have a transcript or a pin.
    """
    _remove_links(store, mappings)
    for fork in _old(f"{store}/{markers.FORKS}"):
        if fork not in there:
            _remove(f"{store}/{markers.FORKS}/{fork}")
    _remove_lists(store)
    heads = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    for copy in _old(f"{store}/{markers.LEFT}"):
        if copy in there or copy not in heads:
            _remove(f"{store}/{markers.LEFT}/{copy}")
    for session_id in _old(f"{store}/{markers.TASKS}"):
        _remove(f"{store}/{markers.TASKS}/{session_id}")
    for session_id in _old(f"{store}/{markers.HOOKLESS}"):
        if not markers.is_hookless_live(store, session_id):
            _remove(f"{store}/{markers.HOOKLESS}/{session_id}")


def _remove_lists(store: str) -> None:
    """Remove forks without a marker from the lists of their heads."""
    for head in _old(f"{store}/{markers.FORKED}"):
        for fork in _old(f"{store}/{markers.FORKED}/{head}"):
            if not markers.exists(store, markers.FORKS, fork):
                _remove(f"{store}/{markers.FORKED}/{head}/{fork}")
        with contextlib.suppress(OSError):
            os.rmdir(f"{store}/{markers.FORKED}/{head}")


def remove_links_of(store: str, key: SessionKey) -> None:
    """Remove the plugin links of a key that no claude is live for."""
    shutil.rmtree(plugin_links.directory_of(store, key), ignore_errors=True)


def _remove_links(store: str, mappings: Document) -> None:
    folder = os.path.abspath(f"{store}/{plugin_links.FOLDER}")
    doomed = [name for name in _old(folder) if not _is_used(f"{folder}/{name}", mappings)]
    in_use = _in_use(folder + "/") if doomed else set()
    for name in doomed:
        if name not in in_use:
            shutil.rmtree(f"{folder}/{name}", ignore_errors=True)


def _is_used(directory: str, mappings: Document) -> bool:
    """Whether a directory of links is that of a key which is mapped and was used lately."""
    try:
        key = plugin_links.key_of(directory)
    except (OSError, ValueError):
        return False
    entry = mappings.get(key.room, {}).get(key.agent)
    used = stamps.nanoseconds(entry["last_used"]) or 0 if entry else 0
    return time.time() - used / 1e9 < _UNUSED * times.DAY


def _in_use(folder: str) -> set[str]:
    """The directories of links that processes and jobs have on their command lines."""
    words = [flag for job in background_jobs.every() for flag in background_jobs.flags(job)]
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            words += process.cmdline()
    return {word[len(folder) :].partition("/")[0] for word in words if word.startswith(folder)}


def _old(folder: str) -> list[str]:
    """The names in a folder whose files are older than a month."""
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _MONTH:
                    found.append(entry.name)
    return found


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
