"""`claude-shim uninstall`: remove the launcher."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from shim.base.plain_text import shell_word
from shim.claude import transcripts
from shim.cli import output
from shim.cli.shared_options import bin_directory, default_bin_directory
from shim.fleet.serving import Server
from shim.install import launcher
from shim.opencode import plugin
from shim.retention import owned_paths, pins
from shim.store import store

if TYPE_CHECKING:
    from pathlib import Path


@click.command("uninstall")
@bin_directory
def command(directory: Path | None) -> None:
    """Remove the launcher, and no other program's file. Conversations stay.

    Prints what else stays, and how to remove it.
    """
    where = (directory or default_bin_directory()).absolute()
    path = launcher.uninstall(where)
    if path is None:
        click.echo(f"There is no launcher in {where}")
    else:
        click.echo(f"Removed {path}")
        click.echo("If your shell's start-up file runs `claude-shim init`, remove that line.")
        click.echo("A shell that has run it may remember it: run `hash -r`, or open a new one.")
        _say_what_stays()
    if _has_plugin():
        click.echo("OpenCode still has its plugin: claude-shim opencode uninstall")


def _say_what_stays() -> None:
    directory = store.directory(make=False)
    if not os.path.isdir(directory):
        return
    kept = output.size(owned_paths.size([f"{directory}/{pins.FOLDER}"]))
    click.echo(
        f"The store stays, with {kept} of conversations that outlive claude's clean-up. To remove"
        " it:"
    )
    click.echo(f"  rm -r {shell_word(directory)}")
    served = Server(directory).data
    if served.is_dir():
        size = output.size(owned_paths.size([str(served)]))
        click.echo(f"That removes what the fleet's server here stores, too: {size} in {served}")
    where = output.at_home(transcripts.projects_directory())
    click.echo(f"Conversations are claude's own files, in {where}")


def _has_plugin() -> bool:
    state = plugin.state(plugin.path(project=False))
    return state in (plugin.CURRENT, plugin.OUTDATED)
