"""Before something changes: who is live on it, and does a person want it all the same?"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from shim.base.messages import warn
from shim.base.session_key import stored_key
from shim.claude import registry
from shim.locks import contention, live_claudes

if TYPE_CHECKING:
    from collections.abc import Collection

# Seconds to wait for claudes that will be over soon.
PATIENCE = 5.0
_NOTICE_AFTER = 1.0
_NAP = 0.05

yes = click.option("-y", "--yes", is_flag=True, help="Go on without asking.")


class InUse(click.ClickException):
    """It is in use, and stays as it is."""

    exit_code = contention.EXIT_BUSY


@dataclass(frozen=True)
class Live:
    """A claude that runs, and what of."""

    pid: int
    kind: str
    """`one-shot`, `streaming` or `interactive`."""
    of: str
    host: str = ""
    """Where, if that is another host of the fleet."""

    def __str__(self) -> str:
        where = f" on {self.host}" if self.host else ""
        who = f"claude {self.pid or 'in another container'}{where}"
        return f"{who} ({self.kind}) is live on {self.of}"


def who_is_live(
    directory: str, keys: Collection[tuple[str, str]], session_ids: Collection[str] = ()
) -> list[Live]:
    """The claudes of these rooms and agents, and those on these conversations.

    Up to 5 s are waited for one-shot ones to end. Raises OSError where there are no locks.
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
    """Ask whether to go on beside live claudes, if there are any.

    Where nobody can be asked and nobody said yes beforehand it is a failure, with exit code 75.
    """
    if not claudes or yes:
        return
    them = "; ".join(map(str, claudes))
    if not _can_ask():
        raise InUse(f"{them}: end it first, or go on with --yes")
    warn(them)
    _ask(question)


def require_answer(yes: bool) -> None:
    """Make sure that somebody can be asked, or has said yes. Raises ClickException."""
    if not yes and not _can_ask():
        raise click.ClickException("there is no terminal to ask on: go on with --yes")


def confirm(question: str, yes: bool) -> None:
    """Ask whether to go on, unless the answer is known."""
    if not yes:
        _ask(question)


def _can_ask() -> bool:
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
    """Those that have a lease, and those without, such as forks."""
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


def _described(pid: int, is_long_running: bool | None, of: str) -> Live:
    process = live_claudes.process(pid, is_long_running)
    if process is not None:
        return Live(pid, process.kind, of)
    return Live(pid, "streaming or interactive" if is_long_running else live_claudes.ONE_SHOT, of)
