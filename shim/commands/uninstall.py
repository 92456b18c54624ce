"""`claude-shim uninstall`: take the launcher away."""

from pathlib import Path

import click

from shim import launcher
from shim.commands.options import bin_directory, default_bin_directory


@click.command("uninstall")
@bin_directory
def command(directory: Path | None) -> None:
    """Remove the launcher, and nothing that is not ours. Conversations stay as they are."""
    where = (directory or default_bin_directory()).absolute()
    try:
        path = launcher.uninstall(where)
    except launcher.LauncherError as problem:
        raise click.ClickException(str(problem)) from problem
    if path is None:
        click.echo(f"There is no launcher of ours in {where}")
        return
    click.echo(f"Removed {path}")
    click.echo("A shell that has run it may remember it: `hash -r`, or start a new one.")
