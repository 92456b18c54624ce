"""`claude-shim uninstall`: take the launcher away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shim.cli.options import bin_directory, default_bin_directory
from shim.commands import opencode
from shim.install import launcher
from shim.opencode import plugin

if TYPE_CHECKING:
    from pathlib import Path


@click.command("uninstall")
@bin_directory
@click.option("--opencode", "with_opencode", is_flag=True, help="Remove OpenCode's plugin, too.")
@click.pass_context
def command(context: click.Context, directory: Path | None, with_opencode: bool) -> None:
    """Remove the launcher, and nothing that is not ours. Conversations stay as they are."""
    where = (directory or default_bin_directory()).absolute()
    path = launcher.uninstall(where)
    if path is None:
        click.echo(f"There is no launcher of ours in {where}")
    else:
        click.echo(f"Removed {path}")
        click.echo("If your shell's start-up file runs `claude-shim init`, take that line out.")
        click.echo("A shell that has run it may remember it: `hash -r`, or start a new one.")
    if with_opencode:
        context.invoke(opencode.uninstall, project=False)
    elif _has_plugin():
        click.echo("OpenCode still has its plugin: claude-shim uninstall --opencode")


def _has_plugin() -> bool:
    state = plugin.state(plugin.path(project=False))
    return state in (plugin.CURRENT, plugin.OUTDATED)
