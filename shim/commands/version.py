"""`claude-shim version`: print the version."""

from __future__ import annotations

from importlib import metadata

import click


@click.command("version")
def command() -> None:
    """Print the version, as --version does."""
    click.echo(f"claude-shim {metadata.version('claude-shim')}")
