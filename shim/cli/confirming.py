"""Before a change: who is live on a conversation, and does the user want it anyway?"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from shim.base.messages import EXIT_BUSY, warn
from shim.base.session_key import stored_key
from shim.claude import registry
from shim.locks import live_claudes

if TYPE_CHECKING:
    from collections.abc import Collection

# Seconds to wait for one-shot claudes to end.
PATIENCE = 5.0
_NOTICE_AFTER = 1.0
_NAP = 0.05

yes = click.option("-y", "--yes", is_flag=True, help="Do not ask.")


class InUse(click.ClickException):
    """A conversation is in use, and nothing was changed."""

    exit_code = EXIT_BUSY


@dataclass(frozen=True)
class Live:
    """A claude that runs, and what it is live on."""

    pid: int
    kind: str
    """`one-shot`, `streaming` or `interactive`."""
    target: str
    """A room and agent, or a conversation, in words."""
    host: str = ""
    """The name of its host, if that is another host of the fleet."""

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        who = f"claude {self.pid or 'in another container'}{where}"
        return f"{who} ({self.kind}) is live on {self.target}"


def who_is_live(
    directory: str, keys: Collection[tuple[str, str]], session_ids: Collection[str] = ()
) -> list[Live]:
    """The claudes of these rooms and agents, and those on these conversations.

    Waits up to 5 s for one-shot ones to end. Raises OSError if the filesystem has no locks.
    """
    started = time.monotonic()
    noticed = not sys.stderr.isatty()
    while True:
        found = _live(directory, keys, session_ids)
        waited = time.monotonic() - started
        passing = [claude for claude in found if claude.kind == live_claudes.ONE_SHOT]
        if not passing or waited > PATIENCE:
            return found
        if waited > _NOTICE_AFTER and not noticed:
            noticed = True
            warn(f"waiting: {passing[0]}")
        time.sleep(_NAP)


def confirm_beside(claudes: Collection[Live], question: str, yes: bool) -> None:
    """Ask whether to make a change although claudes are live, if any are.

    Raises InUse if nobody can be asked and `yes` is not given.
    """
    if not claudes or yes:
        return
    them = "; ".join(map(str, claudes))
    if not can_ask():
        raise InUse(f"{them}: end it first, or pass --yes")
    warn(them)
    _ask(question)


def require_answer(yes: bool) -> None:
    """Make sure that a question can be asked or is answered. Raises ClickException."""
    if not yes and not can_ask():
        raise click.ClickException("there is no terminal to ask on: pass --yes")


def confirm(question: str, yes: bool) -> None:
    """Ask a question, unless the answer is known. Raises ClickException if the answer is no."""
    if not yes:
        _ask(question)


def can_ask() -> bool:
    """Whether there is somebody at a terminal to ask."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _ask(question: str) -> None:
    try:
        agrees = click.confirm(question, err=True)
    except click.Abort:  # Ctrl-C or Ctrl-D: the cursor stands behind the question
        click.echo(err=True)
        warn("nothing was changed")
        raise
    if not agrees:
        raise click.ClickException("nothing was changed")


def _live(
    directory: str, keys: Collection[tuple[str, str]], session_ids: Collection[str]
) -> list[Live]:
    """The claudes that hold a lock, and those that hold none, such as forks."""
    found: dict[int, Live] = {}
    holders = live_claudes.held_locks(directory)
    for room, agent in keys:
        holder = holders.for_key(room, agent)
        if holder is not None:
            found[holder.pid] = _described(
                holder.pid, holder.is_long_running, str(stored_key(room, agent))
            )
    for session_id in session_ids:
        holder = holders.for_conversation(session_id)
        if holder is not None and holder.pid not in found:
            found[holder.pid] = _described(
                holder.pid, holder.is_long_running, f"conversation {session_id}"
            )
    wanted = {str(stored_key(room, agent)) for room, agent in keys}
    for pid, conversation in registry.conversations().items():
        its_key = live_claudes.key_of(pid)
        if pid not in found and its_key is not None and str(its_key) in wanted:
            found[pid] = _described(pid, None, str(its_key))
        elif pid not in found and conversation in session_ids:
            found[pid] = _described(pid, None, f"conversation {conversation}")
    return list(found.values())


def _described(pid: int, is_long_running: bool | None, target: str) -> Live:
    process = live_claudes.process(pid, is_long_running)
    if process is not None:
        return Live(pid, process.kind, target)
    kind = "streaming or interactive" if is_long_running else live_claudes.ONE_SHOT
    return Live(pid, kind, target)
