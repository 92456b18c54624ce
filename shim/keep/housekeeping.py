"""Daily housekeeping, in a process of its own: what no call should wait for.

It can be killed at any instant, and run beside calls and beside itself.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import psutil

from shim.base import session_key
from shim.claude import learning, registry, transcripts
from shim.keep import daily, folder, putting_back
from shim.store import document, history
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shim.store.document import Document

_DAY = 86400.0
# Days for which a mapping whose conversation is gone is remembered after its last use.
_REMEMBERED = 90
_MONTH = 30 * _DAY


def main() -> None:
    """Keep house in the store and projects that the command line names, unless another does."""
    store, projects = sys.argv[1:]
    os.umask(0o077)
    with contextlib.suppress(AttributeError, OSError, psutil.Error):
        psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, 7)
    with (
        contextlib.suppress(filelock.Timeout),
        filelock.FileLock(f"{store}/{daily.STAMP}.lock", timeout=0, mode=0o600),
    ):
        keep_house(store, projects)


def keep_house(store: str, projects: str) -> None:
    """Keep what is not kept yet, honour deletions, forget what is gone, and learn what is new.

    Raises Failure where the store cannot be read or written.
    """
    done = f"{store}/{daily.STAMP}.done"
    Store(store).drop(_keep_up(store, projects, _may_drop_by_age(done)))
    _remove_leftovers(store)
    learning.ask_again(store)
    Path(done).touch(mode=0o600)


def _may_drop_by_age(done: str) -> bool:
    """Whether the clock can be believed: the last housekeeping was within the month, or never."""
    try:
        return -_DAY < time.time() - os.stat(done).st_mtime < _MONTH
    except OSError:
        return True


def _keep_up(store: str, projects: str, may_drop_by_age: bool) -> Document:
    """Keep and honour, and return the mappings that are to be forgotten."""
    # Other directories of claude's may share the store.
    of_kept = {
        putting_back.origin(store, session_id).rsplit("/", 2)[0]
        for session_id in folder.session_ids(store)
    }
    places = {projects, *of_kept}
    found, is_all = _transcripts(places)
    mappings = Store(store).mappings()
    days = folder.days()
    _touch_live(found)
    mapped = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    for session_id in mapped & found.keys():
        with contextlib.suppress(OSError):
            _keep_one_up(store, session_id, found[session_id], days)
    for session_id in folder.session_ids(store):
        with contextlib.suppress(OSError):
            if _is_too_old(store, session_id, days, may_drop_by_age):
                with putting_back.locked(store):
                    putting_back.drop(store, session_id)
            elif session_id not in found:
                putting_back.review(store, session_id, places)
    if not is_all:
        return {}  # what is not found may be there
    there = found.keys() | set(folder.session_ids(store))
    forgetting = history.Forgetting(store, mappings, there)
    Store(store).locked(lambda _: forgetting.commit())
    return _long_gone(mappings, there)


def _transcripts(places: Iterable[str]) -> tuple[dict[str, list[str]], bool]:
    """The transcripts of each conversation, and whether all projects could be read."""
    found: dict[str, list[str]] = {}
    is_all = True
    for projects in places:
        project_names = _names(projects)
        is_all = is_all and project_names is not None
        for project in project_names or ():
            names = _names(f"{projects}/{project}")
            is_all = is_all and names is not None
            for name in names or ():
                if name.endswith(folder.ENDING):
                    session_id = name.removesuffix(folder.ENDING)
                    found.setdefault(session_id, []).append(f"{projects}/{project}/{name}")
    return found, is_all


def _touch_live(found: dict[str, list[str]]) -> None:
    """Let what a claude is live on count as written now: no clean-up takes it from under it."""
    for session_id in registry.conversations().values():
        for path in found.get(session_id, ()):
            with contextlib.suppress(OSError):
                os.utime(path)


def _names(directory: str) -> list[str] | None:
    """What is in a directory; None where that cannot be read."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None


def _keep_one_up(store: str, session_id: str, paths: Iterable[str], days: float) -> None:
    """Keep the transcript of a conversation that claude would resume, if it was used lately."""
    for path in sorted(paths, key=os.path.getmtime, reverse=True):
        if time.time() - os.path.getmtime(path) > days * _DAY:
            return
        if transcripts.resumable(path) is not None:
            putting_back.keep_up(store, session_id, path)
            return


def _is_too_old(store: str, session_id: str, days: float, may_drop_by_age: bool) -> bool:
    idle = time.time() - os.stat(folder.path(store, session_id)).st_mtime
    return not days or (may_drop_by_age and idle > days * _DAY)


def _long_gone(mappings: Document, there: set[str]) -> Document:
    """The mappings long unused whose conversations are gone.

    Not those in the place of the conversation that the room and agent derive, where that is still
    there: it was forgotten, or moved on from, and is not to come back.
    """
    cutoff = time.time_ns() - int(_REMEMBERED * _DAY * 1e9)
    gone: Document = {}
    for room, entries in document.unused_since(mappings, cutoff).items():
        for agent, entry in entries.items():
            derived = session_key.derive(session_key.stored_key(room, agent))
            if not there & {entry["uuid"], derived}:
                gone.setdefault(room, {})[agent] = entry
    return gone


def _remove_leftovers(store: str) -> None:
    """Remove what killed calls left unfinished in the folder, if it is not of this day."""
    directory = f"{store}/{folder.NAME}"
    names = set(_names(directory) or ())
    for name in names:
        session_id, _, ending = name.rpartition(".")
        if ending == "jsonl" or (ending == "from" and session_id + folder.ENDING in names):
            continue
        with contextlib.suppress(OSError):
            if time.time() - os.lstat(f"{directory}/{name}").st_mtime > _DAY:
                os.unlink(f"{directory}/{name}")
