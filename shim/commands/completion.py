"""`claude-shim completion`: what makes a shell complete claude-shim."""

from __future__ import annotations

import click

from shim.install import shells


@click.command("completion")
@click.argument("shell", type=click.Choice(shells.NAMES))
def command(shell: str) -> None:
    """Print what makes SHELL complete claude-shim, rooms and agents among it.

    What `claude-shim init` prints has it already. It is for who sets PATH otherwise.

    \b
      eval "$(claude-shim completion bash)"
      claude-shim completion fish > ~/.config/fish/completions/claude-shim.fish
    """
    click.echo(shells.completion(shell), nl=False)
