"""Sidecars: what claude keeps beside a transcript, such as long tool results and subagents.

They are in `<session id>/`, in every project where the conversation was resumed. Claude deletes
each tool result by its own age, also under a live conversation (help facts, "Clean-up"). The folder
`kept/<session id>/` retains each such directory under a short name; a symbolic link of that name
with `.from` names the directory.
"""

from __future__ import annotations

import binascii
import os
from typing import TYPE_CHECKING

from shim.base import files
from shim.base.messages import explain
from shim.claude import transcripts
from shim.retention import hard_links, pins

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUBAGENTS = "subagents"


def retain(store: str, session_id: str, transcript: str) -> None:
    """At a call: retain what is new beside its transcript, and restore what claude cleaned up."""
    own, kept = transcripts.sidecars_of(transcript), pins.sidecars_of(store, session_id)
    try:
        for name, source in ({_name(own): own} | pins.sidecar_sources(kept)).items():
            ours = f"{kept}/{name}"
            if not os.path.isdir(ours) or pins.last_change(source) != os.stat(ours).st_mtime_ns:
                _sync(source, ours, restores=True)
    except OSError as problem:
        explain(f"sidecars are not retained: {problem.strerror}")


def sync(store: str, session_id: str, found: Iterable[str], restores: bool) -> None:
    """In the housekeeping: retain what is in these directories, and restore what is missing there.

    Raises OSError.
    """
    kept = pins.sidecars_of(store, session_id)
    sources = {_name(source): source for source in found}
    for name, source in (pins.sidecar_sources(kept) | sources).items():
        _sync(source, f"{kept}/{name}", restores)


def restore(store: str, session_id: str) -> None:
    """Restore all sidecars of a conversation. Raises OSError."""
    sync(store, session_id, (), restores=True)


def drop(store: str, session_id: str) -> None:
    """Stop retaining a conversation's sidecars. Raises OSError."""
    kept = pins.sidecars_of(store, session_id)
    if os.path.isdir(kept):
        import shutil

        shutil.rmtree(kept)


def copy_subagents(transcript: str, other: str) -> None:
    """Copy the subagents of one transcript to another. Raises OSError.

    They are no hard links, because claude appends to them. Tool results stay: a fork reads them
    from its parent's directory (help facts, "Forks").
    """
    source = f"{transcripts.sidecars_of(transcript)}/{_SUBAGENTS}"
    if os.path.isdir(source):
        import shutil

        target = f"{transcripts.sidecars_of(other)}/{_SUBAGENTS}"
        shutil.copytree(source, target, dirs_exist_ok=True)


def _name(source: str) -> str:
    return f"{binascii.crc32(os.fsencode(source)):08x}"


def _sync(source: str, kept: str, restores: bool) -> None:
    newest = pins.last_change(source)
    theirs, ours = _files(source), _files(kept)
    if not theirs and not ours:
        return
    os.makedirs(kept, mode=0o700, exist_ok=True)
    if not os.path.islink(kept + pins.FROM):
        os.symlink(source, kept + pins.FROM)
    for name in theirs:
        _retain(f"{source}/{name}", f"{kept}/{name}")
    for name in ours - theirs if restores else ():
        explain(f"{source}/{name} is restored")
        os.makedirs(os.path.dirname(f"{source}/{name}"), mode=0o700, exist_ok=True)
        os.utime(f"{kept}/{name}")  # before it has its name there: claude cleans up by its time
        hard_links.link_or_copy(f"{kept}/{name}", f"{source}/{name}")
    os.utime(kept, ns=(newest, newest))  # the next call sees by it whether anything changed


def _retain(source: str, kept: str) -> None:
    if hard_links.is_same(source, kept):
        return
    is_more = os.path.exists(kept) and os.path.getsize(kept) > os.path.getsize(source)
    if not is_more:  # claude only ever appends
        os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
        hard_links.link_or_copy(source, kept)


def _files(directory: str) -> set[str]:
    """The relative paths of all regular files in a directory but unfinished ones."""
    return {
        os.path.relpath(f"{where}/{name}", directory)
        for where, _, names in os.walk(directory)
        for name in names
        if not name.endswith(files.UNFINISHED) and _is_regular(f"{where}/{name}")
    }


def _is_regular(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)
