"""`claude-shim install`: put the launcher where a shell finds it."""

import os
import shlex
from pathlib import Path

import click

from shim import binary, launcher
from shim.commands.options import bin_directory, default_bin_directory


@click.command("install")
@bin_directory
def command(directory: Path | None) -> None:
    """Write the launcher named `claude`, and say how to put it first on PATH.

    Safe to run again: after an update it renews the launcher.
    """
    where = (directory or default_bin_directory()).absolute()
    try:
        path = launcher.install(where)
    except launcher.LauncherError as problem:
        raise click.ClickException(str(problem)) from problem
    click.echo(f"The launcher is {path}")
    real = next(binary.candidates(), None)
    if real is None:
        click.echo("There is no claude for it to run yet: npm install -g @anthropic-ai/claude-code")
    else:
        click.echo(f"It runs {real}")
    if _first_on_path() == str(path):
        click.echo("It is first on PATH: nothing more to do.")
    else:
        click.echo("Put it first on PATH with this line, and in your shell's start-up file:")
        click.echo(f"  {_path_line(where)}")


def _first_on_path() -> str | None:
    for directory in os.get_exec_path():
        path = os.path.join(directory, launcher.NAME)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    return None


def _path_line(directory: Path) -> str:
    if os.path.basename(os.environ.get("SHELL", "")) == "fish":
        return f"fish_add_path --move --path {shlex.quote(str(directory))}"
    return f"export PATH={shlex.quote(str(directory))}:$PATH"
