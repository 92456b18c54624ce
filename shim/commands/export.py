"""`claude-shim export`: the mappings as JSON, for backup or another machine."""

from __future__ import annotations

import os

import click

from shim.base import files, session_key
from shim.base.messages import warn
from shim.base.session_key import stored_key
from shim.cli import exchange
from shim.store import history, store
from shim.store.store import Store


@click.command("export")
@click.argument("file", required=False, default="-", type=click.Path(dir_okay=False))
def command(file: str) -> None:
    """Write every mapping as JSON to FILE, or to stdout.

    FILE is readable by you alone, and replaced if it is there. The heads that rooms and agents had
    before are in it, too. `claude-shim import` reads it. Conversations themselves are not in it:
    they are claude's files in ~/.claude/projects.

    \b
    Examples:
      claude-shim export ~/mappings.json
      claude-shim export | ssh elsewhere claude-shim import -
    """
    sessions = Store(store.directory())
    sound = []
    for head in exchange.heads(sessions.mappings()):
        room, agent, entry = head
        if session_key.is_session_id(entry["uuid"]):
            sound.append(head)
        else:
            warn(
                f"{stored_key(room, agent)} is left out: its stored id {entry['uuid']!r} is no UUID"
            )
    earlier = sorted(history.everything(sessions.directory), key=lambda head: head[:2])
    data = exchange.dumped(sound, earlier)
    if file == "-":
        click.echo(data, nl=False)
        return
    path = os.path.realpath(file)
    _require_harmless(path, file, sessions)
    try:
        files.replace_anywhere(path, data)
    except OSError as problem:
        raise click.ClickException(f"{file}: {problem.strerror}") from problem
    mappings = "1 mapping" if len(sound) == 1 else f"{len(sound):,} mappings"
    click.echo(f"Wrote {mappings} to {file}", err=True)


def _require_harmless(path: str, file: str, sessions: Store) -> None:
    """Make sure that a file is none of the store's, and no device, which a file would replace.

    Nor may another user have made it a link to a file of ours.
    """
    if os.path.islink(file) and os.lstat(file).st_uid not in (os.geteuid(), 0):
        raise click.ClickException(f"{file} is a link of another user's: choose another name")
    if os.path.dirname(path) == os.path.realpath(sessions.directory):
        raise click.ClickException(f"{file} is in the store's own directory: choose another")
    if os.path.exists(path) and not os.path.isfile(path):
        raise click.ClickException(f"{file} is no regular file: leave it out to write to stdout")
