"""`claude-shim which`: print the path of the real claude."""

from __future__ import annotations

import os

import click

from shim.base.messages import warn
from shim.cli.output import as_json, show_json
from shim.install import real_claude


class _NoClaude(click.ClickException):
    exit_code = real_claude.EXIT_NO_CLAUDE


@click.command("which")
@click.option("-a", "--all", "every", is_flag=True, help="All of them, in the order of preference.")
@as_json
def command(every: bool, as_json: bool) -> None:
    """Print the path of the real claude, which the launcher becomes.

    It is the one that NSED_CLAUDE_BIN names, else the first `claude` on PATH that is no launcher,
    else one from the usual places. If there is none, the exit code is 127.
    """
    answer = real_claude.ask()
    for message in answer.warnings:
        warn(message)
    if not answer.claudes:
        raise _NoClaude(real_claude.NONE)
    found = list(dict.fromkeys(map(os.path.abspath, answer.claudes)))
    if as_json:
        show_json({"claude": found[0], "all": found})
        return
    for path in found if every else found[:1]:
        click.echo(os.fsencode(path))
