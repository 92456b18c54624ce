"""Daily housekeeping, in a process of its own: what no call should wait for.

It can be killed at any instant, and run beside calls and beside itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import TYPE_CHECKING

import filelock
import psutil

from shim import dropping, history, identity, keep, kept, transcripts
from shim.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shim.document import Document

_DAY = 86400.0
# Days for which a mapping whose conversation is gone is remembered after its last use.
_REMEMBERED = 90


def main() -> None:
    """Keep house in the store and projects that the command line names, unless another does."""
    store, projects = sys.argv[1:]
    os.umask(0o077)
    with contextlib.suppress(AttributeError, OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_IDLE)
    with (
        contextlib.suppress(filelock.Timeout),
        filelock.FileLock(f"{store}/{keep.STAMP}.lock", timeout=0, mode=0o600),
    ):
        keep_house(store, projects)


def keep_house(store: str, projects: str) -> None:
    """Keep what is not kept yet, honour deletions, and forget what is gone.

    Raises OSError where the projects cannot be read, StoreError where the store cannot.
    """
    dropping.drop(Store(store), _keep_up(store, projects))
    _remove_leftovers(store)


def _keep_up(store: str, projects: str) -> Document:
    """Keep and honour, and return the mappings that are to be forgotten."""
    found = _transcripts(projects)
    mappings = Store(store).mappings()
    days = keep.days()
    mapped = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    for session_id in mapped & found.keys():
        with contextlib.suppress(OSError):
            _keep_one_up(store, session_id, found[session_id], days)
    for session_id in _kept(store):
        with contextlib.suppress(OSError):
            _review(store, session_id, session_id in found, projects, days)
    there = found.keys() | set(_kept(store))
    Store(store).locked(lambda _: history.forget(store, mappings, there))
    return _long_gone(mappings, there)


def _transcripts(projects: str) -> dict[str, list[str]]:
    """The transcripts of each conversation. Raises OSError where there may be others."""
    found: dict[str, list[str]] = {}
    for project in _names(projects):
        for name in _names(f"{projects}/{project}"):
            if name.endswith(kept.ENDING):
                session_id = name.removesuffix(kept.ENDING)
                found.setdefault(session_id, []).append(f"{projects}/{project}/{name}")
    return found


def _names(directory: str) -> list[str]:
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _kept(store: str) -> list[str]:
    names = _names(f"{store}/{keep.FOLDER}")
    return [name.removesuffix(kept.ENDING) for name in names if name.endswith(kept.ENDING)]


def _keep_one_up(store: str, session_id: str, paths: Iterable[str], days: float) -> None:
    """Keep the transcript of a conversation that claude would resume, if it was used lately."""
    for path in sorted(paths, key=os.path.getmtime, reverse=True):
        if time.time() - os.path.getmtime(path) > days * _DAY:
            return
        if transcripts.resumable(path) is not None:
            kept.keep_up(store, session_id, path)
            return


def _review(store: str, session_id: str, is_there: bool, projects: str, days: float) -> None:
    """Drop a kept file that is too old, or whose transcript a person deleted."""
    idle = time.time() - os.stat(keep.path(store, session_id)).st_mtime
    if not days or idle > days * _DAY:
        with kept.locked(store):
            kept.drop(store, session_id)
    elif not is_there:
        kept.review(store, session_id, projects)


def _long_gone(mappings: Document, there: set[str]) -> Document:
    """The mappings long unused whose conversations are gone.

    Not those in the place of the conversation that the room and agent derive, where that is still
    there: it was forgotten, or moved on from, and is not to come back.
    """
    cutoff = time.time_ns() - int(_REMEMBERED * _DAY * 1e9)
    gone: Document = {}
    for room, entries in dropping.unused_since(mappings, cutoff).items():
        for agent, entry in entries.items():
            derived = identity.derive(identity.stored_key(room, agent))
            if not there & {entry["uuid"], derived}:
                gone.setdefault(room, {})[agent] = entry
    return gone


def _remove_leftovers(store: str) -> None:
    """Remove what killed calls left unfinished in the folder, if it is not of this day."""
    folder = f"{store}/{keep.FOLDER}"
    names = set(_names(folder))
    for name in names:
        session_id, _, ending = name.rpartition(".")
        if ending == "jsonl" or (ending == "from" and session_id + kept.ENDING in names):
            continue
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(f"{folder}/{name}").st_mtime > _DAY:
                os.unlink(f"{folder}/{name}")
