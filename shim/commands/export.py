"""`claude-shim export`: write mappings, and conversations, for backup or another machine."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

import click

from shim.base import files, session_key
from shim.base.messages import warn
from shim.base.session_key import stored_key
from shim.cli import archive, exchange, hosts, output
from shim.store import history, store
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable


@click.command("export")
@click.argument("file", required=False, default="-", type=click.Path(dir_okay=False))
@click.option(
    "--with-conversations", is_flag=True, help="Write an archive with the conversations, too."
)
def command(file: str, with_conversations: bool) -> None:
    """Write every mapping, current and earlier, as JSON to FILE or stdout.

    `claude-shim import` reads it. FILE is replaced if it exists, and readable by you alone.

    Conversations are not part of it: they are claude's files in ~/.claude/projects. With
    --with-conversations, FILE is an archive (.tar.gz) of the mappings and of each conversation's
    transcript and sidecars, pinned ones included. In a fleet, the mappings of all its rooms are
    exported, and the conversations that are on this host.

    \b
    Examples:
      claude-shim export ~/mappings.json
      claude-shim export --with-conversations ~/rooms.tar.gz
      claude-shim export --with-conversations | ssh elsewhere claude-shim import -
    """
    sessions = Store(store.directory())
    sound = []
    fleet = hosts.known(sessions.directory)
    for head in exchange.heads(fleet.merge(sessions.mappings())):
        room, agent, entry = head
        if session_key.is_session_id(entry["uuid"]):
            sound.append(head)
        else:
            warn(
                f"{stored_key(room, agent)} is left out: its stored id {entry['uuid']!r} is no UUID"
            )
    earlier = sorted(history.everything(sessions.directory), key=lambda head: head[:2])
    data = exchange.dumped(sound, earlier)
    write: Callable[[BinaryIO], object] = partial(_write_all, data=data)
    if with_conversations:
        ids = [entry["uuid"] for _, _, entry in (*sound, *earlier)]
        packed = archive.conversations(sessions.directory, ids)
        write = partial(_write_archive, data=data, directory=sessions.directory, packed=packed)
    if file in ("-", "/dev/stdout"):
        if with_conversations and sys.stdout.isatty():
            raise click.ClickException("an archive is nothing for a terminal: name a FILE")
        write(sys.stdout.buffer)
        return
    path = os.path.realpath(file)
    _require_harmless(path, file, sessions)
    try:
        if with_conversations:
            _replace(path, write)
        else:
            files.replace(path, data)
    except OSError as problem:
        raise click.ClickException(f"{file}: {problem.strerror}") from problem
    written = output.counted(len(sound), "mapping")
    if with_conversations:
        written += f" and {output.counted(len(packed), 'conversation')}"
    click.echo(f"Wrote {written} to {file}", err=True)
    if not with_conversations:
        click.echo("Conversations are not in it: --with-conversations adds them.", err=True)


def _write_all(to: BinaryIO, data: bytes) -> None:
    to.write(data)


def _write_archive(
    to: BinaryIO, data: bytes, directory: str, packed: list[tuple[archive.PackedConversation, str]]
) -> None:
    with output.progress(packed, len(packed), "Packing conversations") as steps:
        archive.write(to, data, directory, steps, [each for each, _ in packed])


def _replace(path: str, write: Callable[[BinaryIO], object]) -> None:
    """Replace a file atomically with one that only this user can read. Raises OSError."""
    number, unfinished = tempfile.mkstemp(prefix=".claude-shim-", dir=os.path.dirname(path))
    try:
        with open(number, "wb") as file:
            write(file)
            file.flush()
            os.fsync(number)
        os.replace(unfinished, path)
    except BaseException:
        os.unlink(unfinished)
        raise


def _require_harmless(path: str, file: str, sessions: Store) -> None:
    """Refuse a FILE that is in the store, is a device, or is a link of another user's.

    Raises ClickException.
    """
    if os.path.islink(file) and os.lstat(file).st_uid not in (os.geteuid(), 0):
        raise click.ClickException(f"{file} is a link of another user's: choose another name")
    if os.path.dirname(path) == os.path.realpath(sessions.directory):
        raise click.ClickException(f"{file} is in the store's own directory: choose another")
    if os.path.exists(path) and not os.path.isfile(path):
        raise click.ClickException(f"{file} is no regular file: leave it out to write to stdout")
