"""`claude-shim init`: print code for a shell's start-up file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from shim.cli.shared_options import bin_directory, default_bin_directory
from shim.install import shells

if TYPE_CHECKING:
    from pathlib import Path


@click.command("init")
@click.argument("shell", required=False, type=click.Choice(shells.NAMES))
@bin_directory
def command(shell: str | None, directory: Path | None) -> None:
    """Print code that puts the launcher first on PATH and sets up completion.

    Add this as the last line of the shell's start-up file:

    \b
      eval "$(claude-shim init bash)"      ~/.bashrc (macOS: ~/.bash_profile)
      eval "$(claude-shim init zsh)"       ~/.zshrc
      claude-shim init fish | source       ~/.config/fish/config.fish

    Without SHELL, print that line for your shell. Each new shell then runs claude-shim, for a tenth
    of a second. To save that, write the code to a file once, and source it from the start-up file:

    \b
      claude-shim init bash > ~/.nsed/init.bash
    """
    where = (directory or default_bin_directory()).absolute()
    if ":" in str(where):
        raise click.ClickException(f"{where} cannot be on PATH: it has a colon in its name")
    if shell is not None:
        click.echo(shells.code(shell, where), nl=False)
        return
    own = shells.own()
    named = where if directory else None
    for name in [own] if own else shells.NAMES:
        click.echo(f"# Put this last into {shells.start_up_file(name)}:")
        click.echo(shells.init_line(name, named))
