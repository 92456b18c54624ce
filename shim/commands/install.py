"""`claude-shim install`: write the launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shim.base import files
from shim.base.plain_text import command_line
from shim.cli.output import as_json, show_json
from shim.cli.shared_options import default_bin_directory, new_bin_directory
from shim.install import launcher, real_claude, shells
from shim.install.trial import try_out

if TYPE_CHECKING:
    from pathlib import Path


@click.command("install")
@new_bin_directory
@as_json
def command(directory: Path | None, as_json: bool) -> None:
    """Write the launcher, a program named `claude`, and test it.

    Prints how to put it first on PATH. It is safe to run again: after an update it renews the
    launcher. It changes no start-up file, and replaces no claude but its own. If you use OpenCode,
    also run `claude-shim opencode install`.
    """
    where = (directory or default_bin_directory()).absolute()
    if directory is None:
        files.make_directory(str(where.parent))  # the store's: it is to be private
    path = launcher.install(where)
    real, version = _tried(path)
    is_first = launcher.first_on_path() == str(path)
    if as_json:
        found = {"launcher": str(path), "first_on_path": is_first, "claude": real}
        show_json({**found, "version": version})
        return
    click.echo(f"The launcher is {path}")
    if real is None:
        click.echo("There is no claude for it to run yet: npm install -g @anthropic-ai/claude-code")
    else:
        click.echo(f"It runs {real}, which says: {version or 'nothing'}")
    doctor = command_line("doctor")
    if is_first:
        click.echo(f"It is first on PATH: nothing more to do. `{doctor}` checks it all.")
        return
    shell = shells.own()
    for name in [shell] if shell else shells.NAMES:
        click.echo(f"Put it first on PATH with this line, last in {shells.start_up_file(name)}:")
        click.echo(f"  {shells.init_line(name, where if directory else None)}")
    click.echo(f"Then, in a new shell, `{doctor}` checks it all. For this shell alone:")
    click.echo(f"  {shells.path_line(shell, where)}")


def _tried(path: Path) -> tuple[str | None, str | None]:
    """The claude that the launcher runs, and the version it prints.

    Raises ClickException if the launcher reaches no claude that works.
    """
    real = real_claude.ask().first
    if real is None:
        return None, None
    trial = try_out(path)
    if trial.complaint or not trial.came_through:
        reason = trial.complaint or "; ".join(trial.warnings)
        raise click.ClickException(f"{path} is written, but `{path} --version` fails: {reason}")
    return real, trial.version
