"""Checks of the store: sessions.json, its backup, what it leads to, the clock and the disk."""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base import session_key
from shim.base.files import leave_to_its_owner
from shim.base.messages import Failure
from shim.base.plain_text import command_line
from shim.checks.finding import Finding, counted, ok, problem, warning
from shim.checks.refused import MOST_NAMED
from shim.checks.setup import read
from shim.store import unrecorded as notes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Contents, Setup

_OTHERS = 0o077
# Files that a finding names; the rest is counted.
_NAMED = 3
# Seconds by which clocks that are in step may differ.
_CLOCK_TOLERANCE = 300
_NOT_BEFORE = 1704067200  # 2024
_LEAST_SPACE = 1 << 24


def store(setup: Setup) -> Iterator[Finding]:
    """sessions.json can be read and written, and is valid."""
    if setup.store is None:
        yield problem(
            "neither HOME nor USERPROFILE is set, and this user has no home directory: sessions are"
            " stored in a temporary one",
            "set HOME, or NSED_SESSION_DIR",
        )
        return
    contents, path = setup.contents, setup.sessions
    if contents.obstacle:
        yield problem(
            f"{path}: {contents.obstacle}",
            "end the process that has the lock"
            if contents.is_locked
            else "move it away, give yourself permission to read it, or set NSED_SESSION_DIR",
        )
    elif contents.damage:
        yield problem(
            f"{path} is damaged: {contents.damage}",
            "make a call with a room: it saves a copy of the file, and restores the mappings from"
            f" what can be read of it{' and the backup' if os.path.exists(f'{path}.bak') else ''}",
        )
    elif not contents.is_there and os.path.lexists(f"{path}.bak"):
        yield warning(f"{path} is gone, but its backup is there", "nothing: the next call fills it")
    elif not contents.is_there:
        yield from _place_for_a_store(setup.store)
    else:
        yield from _entries(contents, path)


def _place_for_a_store(directory: Path) -> Iterator[Finding]:
    try:
        leave_to_its_owner(str(directory))
    except Failure as refusal:
        yield problem(str(refusal), "set NSED_SESSION_DIR to a directory of your own")
        return
    there = directory
    while not there.exists():
        there = there.parent
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        yield ok(f"no conversation yet: the first call with a room makes {directory}/sessions.json")
    else:
        yield problem(
            f"{directory} cannot be made: you cannot write to {there}",
            "set NSED_SESSION_DIR to a directory of your own",
        )


def _entries(contents: Contents, path: Path) -> Iterator[Finding]:
    entries = list(contents.entries())
    odd = [entry for entry in entries if not session_key.is_session_id(entry[2])]
    for room, agent, session_id, _ in odd[:_NAMED]:
        yield problem(
            f"room {room!r}, agent {agent!r} has an id that is no UUID: {session_id!r}",
            f"{command_line('forget', room, agent)}; and find out who wrote it",
        )
    if len(odd) > _NAMED:
        yield problem(f"{len(odd) - _NAMED:,} more have ids that are no UUIDs", "the same")
    if not os.access(path, os.W_OK):
        yield problem(
            f"{path} cannot be written: new conversations are not recorded",
            "give yourself permission, or set NSED_SESSION_DIR to a directory of your own",
        )
    elif not odd:
        yield ok(f"{counted(len(entries), 'mapping')} in {path}")


def privacy(setup: Setup) -> Iterator[Finding]:
    """Only this user can read the store."""
    if setup.store is None or not setup.store.is_dir():
        return
    foreign = [
        path
        for path in _own_paths(setup.store, setup.sessions)
        if path.lstat().st_uid != os.geteuid()
    ]
    is_open = open_to_others(setup.store, setup.sessions)
    if foreign:
        yield problem(
            f"{_named(foreign)} of another user: not used",
            shlex.join(["sudo", "chown", "-R", str(os.geteuid()), str(setup.store)])
            + ", or set NSED_SESSION_DIR",
        )
    if is_open:
        fix = shlex.join(["chmod", "-R", "go=", str(setup.store)])
        yield problem(f"{_named(is_open)} open to others", fix)
    if not foreign and not is_open:
        yield ok(f"{setup.store} is yours alone")


def open_to_others(store: Path, sessions: Path) -> list[Path]:
    """What is this user's in the store's directory, and that itself, and others may look into."""
    statuses = {path: path.lstat() for path in _own_paths(store, sessions)}
    return [
        path
        for path, status in statuses.items()
        if status.st_mode & _OTHERS
        and status.st_uid == os.geteuid()
        and not status.st_mode & stat.S_ISVTX
        and not stat.S_ISLNK(status.st_mode)
    ]


def _own_paths(store: Path, sessions: Path) -> list[Path]:
    # Anything but a file in the place of sessions.json has a finding of its own.
    inside = [
        path
        for path in store.iterdir()
        if path.name != "bin" and (path != sessions or path.is_file())
    ]
    return [store, *sorted(inside)]


def unrecorded(setup: Setup) -> Iterator[Finding]:
    """No room has a conversation that could not be recorded."""
    if setup.store is None or not setup.store.is_dir():
        return
    for key, reason in notes.pending(str(setup.store), setup.contents.mappings):
        yield problem(
            f"the current conversation of {key} could not be recorded ({reason})",
            "remove the reason, and make a call of that room: it records the conversation",
        )


def backup(setup: Setup) -> Iterator[Finding]:
    """The backup can be read, and has what sessions.json has."""
    if setup.store is None or not setup.contents.is_there:
        return
    path = Path(f"{setup.sessions}.bak")
    saved = read(path)
    if not saved.is_sound:
        reason = saved.damage or saved.obstacle
        yield problem(
            f"{path}: {reason}", f"rm {shlex.quote(str(path))}; the next change writes a new one"
        )
    elif not saved.is_there:
        yield ok("there is none yet: the first change writes it")
    elif setup.contents.is_sound:
        ours, theirs = ({entry[:3] for entry in it.entries()} for it in (setup.contents, saved))
        if ours != theirs:
            yield warning(
                f"{counted(len(ours ^ theirs), 'mapping')} only in sessions.json or only in the"
                " backup: another program changed it",
                "nothing: the next new room or agent updates the backup",
            )
        else:
            yield ok("it has the same mappings")


def refusals(setup: Setup) -> Iterator[Finding]:
    """The API answers in the conversations of the rooms."""
    for room in setup.refused[:MOST_NAMED]:
        yield problem(str(room), room.ways_out(str(setup.store)))
    if (more := len(setup.refused) - MOST_NAMED) > 0:
        yield problem(f"the API refuses {counted(more, 'more conversation')}", "the same")


def clock(setup: Setup) -> Iterator[Finding]:
    """The clock is not behind what was written before."""
    now = time.time()
    set_it = "set the clock, and synchronize it over the network"
    if now < _NOT_BEFORE:
        yield problem(f"it says {time.strftime('%Y-%m-%d', time.gmtime(now))}", set_it)
        return
    ahead = []
    if setup.store is not None:
        used = [entry[3] / 1e9 for entry in setup.contents.entries()]
        ahead = [at for at in used if at > now + _CLOCK_TOLERANCE]
    if ahead:
        newest = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(ahead)))
        yield problem(
            f"{counted(len(ahead), 'mapping')} used in the future, up to {newest}",
            f"{set_it}; if it is right, call these rooms once: that corrects their times",
        )
    else:
        yield ok("no recorded time is in the future")


def disk(setup: Setup) -> Iterator[Finding]:
    """There is space for the store and its backup."""
    place = setup.store
    while place is not None and not place.is_dir():
        place = place.parent
    if place is None:
        return
    is_readable = setup.contents.is_there and not setup.contents.obstacle
    size = setup.sessions.stat().st_size if is_readable else 0
    free = shutil.disk_usage(place).free
    if free < max(_LEAST_SPACE, 4 * size):
        yield problem(
            f"{free / 1e6:.1f} MB are free on the filesystem of {place}: new conversations may not"
            " be recorded",
            "free some space",
        )
    else:
        yield ok(f"{free / 1e9:.1f} GB are free")


def _named(paths: list[Path]) -> str:
    names = ", ".join(path.name for path in paths[:_NAMED])
    more = f" and {len(paths) - _NAMED} more" if len(paths) > _NAMED else ""
    return f"{names}{more} {'is' if len(paths) == 1 else 'are'}"
