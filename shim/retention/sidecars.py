"""What claude keeps beside a transcript: long tool results, subagents, and whatever comes.

A conversation's lie in every project where it was resumed, in `<session id>/`. Claude deletes each
tool result by its own age, also under a live conversation (FACTS.md, "clean-up"). In the folder
`kept/<session id>/` each such directory is one by a short name, and a symbolic link of that name
with `.from` says where it was.
"""

from __future__ import annotations

import binascii
import os
from typing import TYPE_CHECKING

from shim.base.messages import explain
from shim.claude import transcripts
from shim.retention import hard_links, pins

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUBAGENTS = "subagents"


def retain(store: str, session_id: str, transcript: str) -> None:
    """At a call: keep what is new beside its transcript, and put back what claude has cleaned up.

    What has not changed since costs a look at each directory.
    """
    own, kept = transcripts.sidecars_of(transcript), pins.sidecars_of(store, session_id)
    try:
        for name, source in ({_name(own): own} | pins.sidecar_sources(kept)).items():
            ours = f"{kept}/{name}"
            if not os.path.isdir(ours) or pins.last_change(source) != os.stat(ours).st_mtime_ns:
                _sync(source, ours, restores=True)
    except OSError as problem:
        explain(f"what is beside the transcript is not kept: {problem.strerror}")


def sync(store: str, session_id: str, found: Iterable[str], restores: bool) -> None:
    """In housekeeping: keep what is in these directories, and put back what is missing there.

    Raises OSError.
    """
    kept = pins.sidecars_of(store, session_id)
    sources = {_name(source): source for source in found}
    for name, source in (pins.sidecar_sources(kept) | sources).items():
        _sync(source, f"{kept}/{name}", restores)


def restore(store: str, session_id: str) -> None:
    """Put back all that is kept from beside a transcript. Raises OSError."""
    sync(store, session_id, (), restores=True)


def drop(store: str, session_id: str) -> None:
    """Keep it no longer. Raises OSError."""
    kept = pins.sidecars_of(store, session_id)
    if os.path.isdir(kept):
        import shutil

        shutil.rmtree(kept)


def copy_to_fork(transcript: str, fork: str) -> None:
    """Give a fork what its parent's subagents said; claude itself does not (FACTS.md, "forks").

    As copies: claude appends to them. Tool results it reads from its parent's directory. Raises
    OSError.
    """
    project = transcripts.this_project()
    source = f"{transcripts.sidecars_of(transcript)}/{_SUBAGENTS}"
    if project is not None and os.path.isdir(source):
        import shutil

        explain(f"its subagents are copied for conversation {fork}")
        shutil.copytree(source, f"{project}/{fork}/{_SUBAGENTS}", dirs_exist_ok=True)


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
        _keep(f"{source}/{name}", f"{kept}/{name}")
    for name in ours - theirs if restores else ():
        explain(f"{source}/{name} is put back")
        os.makedirs(os.path.dirname(f"{source}/{name}"), mode=0o700, exist_ok=True)
        os.utime(f"{kept}/{name}")  # before it has its name there: claude goes by its time
        hard_links.link_or_copy(f"{kept}/{name}", f"{source}/{name}")
    os.utime(kept, ns=(newest, newest))  # for the next call to see whether anything changed


def _keep(source: str, kept: str) -> None:
    if hard_links.is_same(source, kept):
        return
    is_more = os.path.exists(kept) and os.path.getsize(kept) > os.path.getsize(source)
    if not is_more:  # claude only ever appends
        os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
        hard_links.link_or_copy(source, kept)


def _files(directory: str) -> set[str]:
    """The paths in it of all regular files that have their names for good."""
    return {
        os.path.relpath(f"{where}/{name}", directory)
        for where, _, names in os.walk(directory)
        for name in names
        if not name.endswith(pins.UNFINISHED) and _is_regular(f"{where}/{name}")
    }


def _is_regular(path: str) -> bool:
    return os.path.isfile(path) and not os.path.islink(path)
