"""`claude-shim version`: which claude-shim this is."""

from __future__ import annotations

from importlib import metadata

import click


@click.command("version")
def command() -> None:
    """Print which claude-shim this is, as --version does."""
    click.echo(f"claude-shim {metadata.version('claude-shim')}")
