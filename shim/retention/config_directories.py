"""One conversation in several accounts: directories that `CLAUDE_CONFIG_DIR` names.

It stays where it began, and another account resumes it there, by its path. A temporary account, as
the SDKs make and delete, gets links into the usual one: claude follows them, also to a transcript
that is not there yet (FACTS.md, "Beyond one machine").
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
    """The transcript that this account has not: of another one, or put back.

    Raises OSError where it is kept and cannot be put back.
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
    """The conversation as another account has it. Raises OSError."""
    for path in paths_elsewhere(store, session_id):
        status = transcripts.resumable(path)
        if status is not None:
            return Transcript(path, False, status)
    return None


def paths_elsewhere(store: str, session_id: str) -> Iterator[str]:
    """The conversation's transcripts in another account, the one that is noted first."""
    try:
        noted = os.readlink(pins.origin_of(pins.path(store, session_id)))
    except OSError:
        return
    if is_foreign(noted):
        projects = transcripts.config_directory_of(noted) + "/projects"
        others = transcripts.copies(projects, session_id + transcripts.ENDING)
        yield from sorted(others, key=lambda path: path != noted)


def is_foreign(path: str) -> bool:
    """Whether a transcript's path is in another account than that of today."""
    own, other = transcripts.config_directory(), transcripts.config_directory_of(path)
    return other != own and os.path.realpath(other) != os.path.realpath(own)


def link_new(transcript: str) -> str:
    """Where a conversation that starts in a temporary account will be: in the usual one.

    Raises OSError.
    """
    usual = transcripts.lasting_path(transcript)
    _link_sidecars(usual)
    _link(usual, transcript)
    return usual


def move_to_usual(transcript: str) -> str:
    """Where the transcript of a temporary account is then: in the usual one, with a link to it.

    What is there already is joined, if it is one conversation; else this one stays. Called with
    the conversation's lease. Raises OSError.
    """
    if os.path.islink(transcript):
        return os.path.realpath(transcript)
    usual = transcripts.lasting_path(transcript)
    if os.path.exists(usual):
        there, here = lineage.of(usual), lineage.of(transcript)
        if not there.are_one_with(here):
            return transcript
        if not here.has_all_of(there):
            restoring.join_files(usual, transcript)
    import shutil

    explain(f"{transcript} is in a temporary account: it goes to {usual}")
    os.makedirs(os.path.dirname(usual), mode=0o700, exist_ok=True)
    shutil.copy2(transcript, usual + pins.UNFINISHED)
    os.replace(usual + pins.UNFINISHED, usual)
    hard_links.remove(transcript + pins.UNFINISHED)  # of a call that was killed here
    os.symlink(usual, transcript + pins.UNFINISHED)
    os.replace(transcript + pins.UNFINISHED, transcript)
    own, theirs = transcripts.sidecars_of(transcript), transcripts.sidecars_of(usual)
    if os.path.isdir(own) and not os.path.islink(own):
        shutil.copytree(own, theirs, dirs_exist_ok=True)
        shutil.rmtree(own)
    _link_sidecars(usual, transcript)
    return usual


def _link_sidecars(transcript: str, own: str | None = None) -> None:
    """Have what this temporary account writes beside a transcript be where that one is."""
    project = transcripts.this_project()
    name = os.path.basename(transcript)
    own = own or (project and f"{project}/{name}")
    if own:
        directory = transcripts.sidecars_of(transcript)
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _link(directory, transcripts.sidecars_of(own))


def _link(target: str, link: str) -> None:
    if not os.path.lexists(link):
        explain(f"{link} is of a temporary account: it is a link to {target}")
        os.makedirs(os.path.dirname(link), mode=0o700, exist_ok=True)
        os.symlink(target, link)
