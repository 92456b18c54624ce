"""The conversations on this machine, found by id, by the beginning of an id, or by path."""

from __future__ import annotations

import re
from pathlib import Path

import click

from shim.base import session_key
from shim.claude import projects, transcripts
from shim.retention import pinning, pins

_BEGINNING = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)
_MOST_NAMED = 4


def session_ids(store: str) -> set[str]:
    """The conversations that have a transcript in any project, or a pin. Raises OSError."""
    paths = [path for where in projects.directories() for path in projects.transcripts_in(where)]
    own = {transcripts.session_id_of(path) for path in paths}
    return own.union(pins.session_ids(store))


def named(text: str, store: str) -> tuple[str, str]:
    """The session id and transcript of a conversation that can be resumed.

    `text` is a session id, the beginning of one, or a transcript's path. A conversation that claude
    cleaned up is restored from its pin. Raises ClickException if none or several match.
    """
    is_path = "/" in text or text.endswith(transcripts.ENDING)
    session_id = _of_path(text) if is_path else _of_beginning(text, store)
    transcript, unusable = transcripts.find(session_id)
    if transcript is None and not unusable:
        transcript = pinning.restore(store, session_id)
    if transcript is None and unusable:
        raise click.ClickException(f"{unusable[0]} holds no message: claude cannot resume it")
    if transcript is None:
        raise click.ClickException(f"conversation {session_id} is gone: its transcript was deleted")
    return session_id, transcript.path


def is_resumable(session_id: str) -> bool:
    """Whether claude can resume the conversation. Raises OSError if its file cannot be read."""
    return session_key.is_session_id(session_id) and transcripts.find(session_id)[0] is not None


def can_be_restored(session_id: str, store: str) -> bool:
    """Whether the conversation can be resumed, or restored. Raises OSError.

    One whose transcript a person deleted cannot, though its pin stays until the next housekeeping.
    """
    return is_resumable(session_id) or (
        session_key.is_session_id(session_id) and pinning.can_be_restored(store, session_id)
    )


def _of_path(text: str) -> str:
    path = Path(text)
    directory = transcripts.projects_directory()
    if not path.is_file():
        raise click.ClickException(f"there is no file {text}")
    if path.suffix != transcripts.ENDING or not session_key.is_session_id(path.stem):
        raise click.ClickException(f"{text} is no transcript: claude names them UUID.jsonl")
    if path.resolve().parent.parent != Path(directory).resolve():
        raise click.ClickException(
            f"{text} is outside {directory}: copy it into a project there, where claude looks"
        )
    return path.stem


def _of_beginning(text: str, store: str) -> str:
    if not _BEGINNING.fullmatch(text.lower()):
        raise click.ClickException(
            f"{text!r} is no session id, no beginning of one (4 characters or more), and no path of"
            " a transcript"
        )
    found = sorted(known for known in session_ids(store) if known.lower().startswith(text.lower()))
    if not found:
        raise click.ClickException(
            f"no conversation in {transcripts.projects_directory()} has an id that begins with"
            f" {text}"
        )
    if len(found) > 1:
        more = f" and {len(found) - _MOST_NAMED:,} more" if len(found) > _MOST_NAMED else ""
        raise click.ClickException(
            f"several ids begin with {text}: {', '.join(found[:_MOST_NAMED])}{more}"
        )
    return found[0]
