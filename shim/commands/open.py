"""`claude-shim open`: open a room's conversation at a terminal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from shim.base.messages import warn
from shim.base.session_key import stored_key
from shim.cli import confirming, mapped
from shim.cli.names import AGENT, ROOM
from shim.cli.shared_options import default_bin_directory
from shim.install import launcher, real_claude
from shim.store import store
from shim.store.store import Store

if TYPE_CHECKING:
    from shim.store.document import Document

_REST = "shim.commands.open.rest"
# What a claude around the terminal, or one that has ended, leaves there: the call is none of its.
_INHERITED = (
    *(b"NSED_SESSION_ID", b"NSED_SHIM_ROOM", b"NSED_SHIM_AGENT", b"NSED_SHIM_PID"),
    *(b"NSED_SHIM_CHAIN", b"CLAUDE_CODE_CHILD_SESSION", b"CLAUDE_CODE_SESSION_ID"),
    b"CLAUDE_JOB_DIR",
)


class _BeforeDashes(click.Command):
    """A command that parses only the arguments before `--`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        # Before a room, `--` only marks the end of options.
        at = args.index("--", 1) if "--" in args[1:] else len(args)
        context.meta[_REST] = args[at + 1 :]
        return super().parse_args(context, args[:at])

    def collect_usage_pieces(self, context: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(context), "[-- ARGS...]"]


@click.command("open", cls=_BeforeDashes)
@click.argument("room", type=ROOM)
@click.argument("agent", type=AGENT, required=False)
@click.option("--here", is_flag=True, help="Stay in the current directory.")
@click.pass_context
def command(context: click.Context, room: str, agent: str | None, here: bool) -> None:
    """Open the conversation of ROOM and AGENT at a terminal.

    Claude runs in the conversation's directory, unless you pass --here. Without AGENT, it is the
    room's only one, else `claude`. A room that does not exist is created; at a terminal you are
    asked first where another has nearly that name. Arguments after -- are passed to claude.

    \b
      claude-shim open refactor
      claude-shim open refactor planner
      claude-shim open refactor -- --model opus -p "Which word was it?"
    """
    mappings = Store(store.directory()).mappings()
    path = _launcher()
    if agent is None:
        agent = mapped.agent_of(mappings.get(room, {}))
    if room not in mappings:
        _announce(room, mapped.close_to(room, mappings))
    if not here:
        _enter_directory(mappings, room, agent)
    key = stored_key(room, agent)
    environ = {name: value for name, value in os.environb.items() if name not in _INHERITED}
    environ |= {b"NSED_ROOM_ID": key.room_bytes, b"NSED_AGENT_NAME": key.agent_bytes}
    if not room:
        del environ[b"NSED_ROOM_ID"]
    os.execve(path, ["claude", *context.meta[_REST]], environ)


def _announce(room: str, hint: str) -> None:
    """Say that a room is new; where another has nearly that name, ask first, if that can be asked.

    Raises ClickException if the answer is no.
    """
    said = f"room {room!r} is new{hint}"
    if hint and confirming.can_ask():
        click.echo(said + "?", err=True)
        confirming.confirm("Create it?", yes=False)
    else:
        warn(said)


def _enter_directory(mappings: Document, room: str, agent: str) -> None:
    """Change to the directory of a conversation, and say so, if it is another than this one."""
    own = [it for it in mapped.every(mappings) if (it.room, it.agent) == (room, agent)]
    survey = mapped.Survey(store.directory(make=False), {it.session_id for it in own})
    transcript = survey.transcript(own[0].session_id) if own else None
    where = transcript and transcript[1].directory
    if not where or where == _working_directory():
        return
    try:
        os.chdir(where)
    except OSError as problem:
        warn(f"running here: {where}, the conversation's directory: {problem.strerror}")
    else:
        warn(f"running in {where}, the conversation's directory; --here stays in this one")


def _working_directory() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""  # it is gone


def _launcher() -> str:
    """The launcher, first on PATH or where `install` writes it. Raises ClickException if none."""
    first = launcher.first_on_path()
    for path in filter(None, (first, str(default_bin_directory() / launcher.NAME))):
        if real_claude.is_launcher(path) and os.access(path, os.X_OK):
            return path
    raise click.ClickException("there is no launcher: `claude-shim install` writes it")
