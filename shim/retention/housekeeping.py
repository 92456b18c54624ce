"""The daily housekeeping, in a process of its own: what no call should wait for.

It may be killed at any instant, and runs beside calls.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import psutil

from shim.base import files, session_key, stamps, times
from shim.claude import registry, spec_cache, spec_discovery, transcripts
from shim.retention import compressed, daily, pins, restoring, sidecars, tidying
from shim.store import document, history, markers
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from shim.store.document import Document
    from shim.store.history import Head

# Days without use after which a mapping whose conversation is gone is dropped.
_REMEMBERED = 90
_MONTH = 30 * times.DAY
# How many mappings of one agent to one conversation stay in any case.
_OF_ONE = 100
# Where files are replaced at once, beside the store's own folder.
_FOLDERS = [
    f"/{name}" for name in (pins.FOLDER, markers.FORKS, markers.HOOKLESS, spec_cache.DIRECTORY)
]


def main() -> None:
    """Run in the store and projects that the command line names, unless another process does."""
    store, projects = sys.argv[1:]
    os.umask(0o077)
    if sys.platform == "linux":
        with contextlib.suppress(OSError, psutil.Error):
            psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, 7)
    with (
        contextlib.suppress(filelock.Timeout),
        filelock.FileLock(f"{store}/{daily.STAMP}.lock", timeout=0, mode=0o600),
    ):
        run(store, projects)


def run(store: str, projects: str) -> None:
    """Pin what has no pin, honour deletions, forget what is gone, and ask claudes for new options.

    Raises Failure where the store cannot be read or written.
    """
    done = f"{store}/{daily.STAMP}.done"
    Store(store).drop(_retain(store, projects, _may_drop_by_age(done)))
    _remove_leftovers(store)
    spec_discovery.ask_again(store)
    Path(done).touch(mode=0o600)


def _may_drop_by_age(done: str) -> bool:
    """Whether the clock can be trusted: the last housekeeping was within a month, or never."""
    try:
        return not times.has_passed(done, _MONTH)
    except OSError:
        return True


def _retain(store: str, projects: str, may_drop_by_age: bool) -> Document:
    """Retain conversations, honour deletions, and return the mappings that are to be dropped."""
    # Other config directories may share the store.
    of_pins = {
        restoring.origin(store, session_id).rsplit("/", 2)[0]
        for session_id in pins.session_ids(store)
    }
    places = {projects, *of_pins}
    found, sidecar_directories, is_all = _transcripts(places)
    mappings = Store(store).mappings()
    days = pins.days()
    _touch_live(found)
    mapped = {entry["uuid"] for entries in mappings.values() for entry in entries.values()}
    for session_id in mapped & found.keys():
        with contextlib.suppress(OSError):
            _update_pin_of(store, session_id, found[session_id], days)
    for session_id in pins.session_ids(store):
        with contextlib.suppress(OSError):
            if _is_too_old(store, session_id, days, may_drop_by_age):
                with restoring.locked(store):
                    restoring.drop(store, session_id)
            elif session_id not in found:
                restoring.review(store, session_id, places)
        with contextlib.suppress(OSError):
            if pins.is_pinned(store, session_id):
                directories = sidecar_directories.get(session_id, ())
                sidecars.sync(store, session_id, directories, restores=session_id in found)
    if not is_all:
        return {}  # what was not found may exist
    there = found.keys() | set(pins.session_ids(store))
    tidying.tidy(store, mappings, there)
    surplus = _surplus(mappings, there)
    Store(store).locked(lambda _: history.forget(store, mappings, there))
    Store(store).locked(lambda _: history.remember_all(store, surplus))
    doomed = _long_gone(mappings, there)
    for room, agent, entry in surplus:
        doomed.setdefault(room, {})[agent] = entry
    return doomed


def _transcripts(
    places: Iterable[str],
) -> tuple[dict[str, list[str]], dict[str, list[str]], bool]:
    """The transcripts and sidecar directories of each conversation, and whether that is all.

    It is not where a project cannot be read.
    """
    found: dict[str, list[str]] = {}
    sidecar_directories: dict[str, list[str]] = {}
    is_all = True
    for projects in places:
        project_names = _names(projects)
        is_all = is_all and project_names is not None
        for project in project_names or ():
            names = _names(f"{projects}/{project}")
            is_all = is_all and names is not None
            for name in names or ():
                path = f"{projects}/{project}/{name}"
                if name.endswith(transcripts.ENDING):
                    found.setdefault(name.removesuffix(transcripts.ENDING), []).append(path)
                elif session_key.is_session_id(name) and not os.path.islink(path):
                    sidecar_directories.setdefault(name, []).append(path)
    return found, sidecar_directories, is_all


def _touch_live(found: dict[str, list[str]]) -> None:
    """Set the time of what a claude is live on, so that no clean-up deletes it."""
    for session_id in registry.conversations().values():
        for path in found.get(session_id, ()):
            with contextlib.suppress(OSError):
                os.utime(path)


def _names(directory: str) -> list[str] | None:
    """The names in a directory; None where it cannot be read."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError:
        return None


def _update_pin_of(store: str, session_id: str, paths: Iterable[str], days: float) -> None:
    """Pin the transcript of a conversation that claude would resume, if it was used lately.

    Where there are several, and there is no pin yet, the noted one comes first.
    """
    is_pinned = pins.is_pinned(store, session_id)
    noted = restoring.origin(store, session_id)
    by_age = sorted(paths, key=os.path.getmtime, reverse=True)
    for path in by_age if is_pinned else sorted(by_age, key=lambda path: path != noted):
        if time.time() - os.path.getmtime(path) > days * times.DAY or os.path.islink(path):
            continue
        if transcripts.resumable(path) is not None and restoring.update_pin(
            store, session_id, path
        ):
            compressed.copy(store, session_id, path)
            return


def _is_too_old(store: str, session_id: str, days: float, may_drop_by_age: bool) -> bool:
    idle = time.time() - os.stat(pins.path(store, session_id)).st_mtime
    return not days or (may_drop_by_age and idle > days * times.DAY)


def _surplus(mappings: Document, there: Collection[str]) -> list[Head]:
    """Of the mappings of one agent to one conversation, those beyond the 100 last used.

    A caller may have a new room for each turn. Those used within 30 days stay, and those that
    stand in the place of another conversation, as below.
    """
    of_one: dict[tuple[str, str], list[Head]] = {}
    for room, entries in mappings.items():
        for agent, entry in entries.items():
            of_one.setdefault((agent, entry["uuid"]), []).append((room, agent, entry))
    old = time.time_ns() - int(_MONTH * 1e9)
    return [
        head
        for heads in of_one.values()
        if len(heads) > _OF_ONE
        for head in sorted(heads, key=_used, reverse=True)[_OF_ONE:]
        if _used(head) < old and not _is_in_place(head, there)
    ]


def _used(head: Head) -> int:
    return stamps.nanoseconds(head[2]["last_used"]) or 0


def _is_in_place(head: Head, there: Collection[str]) -> bool:
    """Whether the conversation that its room and agent derive would come back without it."""
    room, agent, entry = head
    derived = session_key.derive(session_key.stored_key(room, agent))
    return derived != entry["uuid"] and derived in there


def _long_gone(mappings: Document, there: Collection[str]) -> Document:
    """The mappings long unused whose conversations are gone.

    Not those in the place of the conversation that the room and agent derive, where that still
    exists: it was forgotten or left, and must not come back.
    """
    cutoff = time.time_ns() - int(_REMEMBERED * times.DAY * 1e9)
    gone: Document = {}
    for room, entries in document.unused_since(mappings, cutoff).items():
        for agent, entry in entries.items():
            if entry["uuid"] not in there and not _is_in_place((room, agent, entry), there):
                gone.setdefault(room, {})[agent] = entry
    return gone


def _remove_leftovers(store: str) -> None:
    """Remove what killed processes left unfinished, and what belongs to no pin, after a day."""
    for folder in (store, *(f"{store}/{name}" for name in _FOLDERS)):
        for name in _names(folder) or ():
            if name.endswith(files.UNFINISHED):
                _remove_if_old(f"{folder}/{name}")
    directory = f"{store}/{pins.FOLDER}"
    names = set(_names(directory) or ())
    for name in names:
        if name.partition(".")[0] + transcripts.ENDING not in names:
            _remove_if_old(f"{directory}/{name}")


def _remove_if_old(path: str) -> None:
    with contextlib.suppress(OSError):
        if time.time() - os.lstat(path).st_mtime > times.DAY:
            shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
