"""`claude-shim completion`: print a shell's completion code."""

from __future__ import annotations

import click

from shim.install import shells


@click.command("completion")
@click.argument("shell", type=click.Choice(shells.NAMES))
def command(shell: str) -> None:
    """Print code that has SHELL complete claude-shim, room and agent names included.

    `claude-shim init` prints it, too: use this command if you set PATH another way.

    \b
      eval "$(claude-shim completion bash)"
      claude-shim completion fish > ~/.config/fish/completions/claude-shim.fish
    """
    click.echo(shells.completion(shell), nl=False)
