"""One conversation under several config directories, as `CLAUDE_CONFIG_DIR` names them.

A conversation stays where it began; under another config directory it is resumed by its path. A
temporary config directory, as the SDKs make and delete, gets links into the usual one: claude
follows them, also to a transcript that does not exist yet (help facts, "Beyond one machine").
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shim.base.messages import explain, warn
from shim.claude import lineage, transcripts
from shim.claude.transcripts import Transcript
from shim.retention import hard_links, pins, restoring

if TYPE_CHECKING:
    from collections.abc import Iterator


def restore(store: str, session_id: str) -> Transcript | None:
    """The transcript that is not under this config directory: under another one, or restored.

    Raises OSError where it is retained and cannot be restored.
    """
    found = elsewhere(store, session_id)
    if found is None:
        restoring.restore(store, session_id)
        found = transcripts.find(session_id)[0] or elsewhere(store, session_id)
    if found is not None and is_foreign(found.path):
        own = transcripts.config_directory()
        if transcripts.is_temporary(own):
            _link_sidecars(found.path)
        else:
            warn(
                f"resuming under {own} what was said under"
                f" {transcripts.config_directory_of(found.path)}: config directories that must not"
                " mix need an NSED_SESSION_DIR each"
            )
    return found


def elsewhere(store: str, session_id: str) -> Transcript | None:
    """The conversation's transcript under another config directory. Raises OSError."""
    for path in paths_elsewhere(store, session_id):
        status = transcripts.resumable(path)
        if status is not None:
            return Transcript(path, False, status)
    return None


def paths_elsewhere(store: str, session_id: str) -> Iterator[str]:
    """The conversation's transcripts under another config directory, the noted one first."""
    try:
        noted = os.readlink(pins.origin_of(pins.path(store, session_id)))
    except OSError:
        return
    if is_foreign(noted):
        projects = transcripts.config_directory_of(noted) + "/projects"
        others = transcripts.copies(projects, session_id + transcripts.ENDING)
        yield from sorted(others, key=lambda path: path != noted)


def is_foreign(path: str) -> bool:
    """Whether a transcript's path is under another config directory than the current one."""
    own, other = transcripts.config_directory(), transcripts.config_directory_of(path)
    return other != own and os.path.realpath(other) != os.path.realpath(own)


def link_new(transcript: str) -> str:
    """Make a conversation that starts under a temporary config directory one of the usual one.

    Returns where its transcript will be. Raises OSError.
    """
    usual = transcripts.lasting_path(transcript)
    _link_sidecars(usual)
    _link(usual, transcript)
    return usual


def move_to_usual(transcript: str) -> str:
    """Move a transcript from a temporary config directory to the usual one, and leave a link.

    If another file is there, and both are one conversation, they are joined; else this one stays.
    Called with the conversation's lock. Returns where the transcript is then. Raises OSError.
    """
    if os.path.islink(transcript):
        return os.path.realpath(transcript)
    usual = transcripts.lasting_path(transcript)
    if os.path.exists(usual):
        there, here = lineage.read(usual), lineage.read(transcript)
        if not there.are_one_with(here):
            return transcript
        if not here.has_all_of(there):
            restoring.join_files(usual, transcript)
    import shutil

    explain(f"{transcript} is under a temporary config directory: it is moved to {usual}")
    os.makedirs(os.path.dirname(usual), mode=0o700, exist_ok=True)
    hard_links.copy(transcript, usual)
    pins.note(transcript, usual)
    own, theirs = transcripts.sidecars_of(transcript), transcripts.sidecars_of(usual)
    if os.path.isdir(own) and not os.path.islink(own):
        shutil.copytree(own, theirs, dirs_exist_ok=True)
        shutil.rmtree(own)
    _link_sidecars(usual, transcript)
    return usual


def _link_sidecars(transcript: str, own: str | None = None) -> None:
    """Link the directory of sidecars under this temporary config directory to a transcript's.

    `own` is the transcript's path under this one, where it has another name than in this project.
    """
    project = transcripts.this_project()
    name = os.path.basename(transcript)
    own = own or (project and f"{project}/{name}")
    if own:
        directory = transcripts.sidecars_of(transcript)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _link(directory, transcripts.sidecars_of(own))


def _link(target: str, link: str) -> None:
    if not os.path.lexists(link):
        explain(f"{link} is under a temporary config directory: it is a link to {target}")
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
        os.symlink(target, link)
