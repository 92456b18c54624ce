"""Options that several subcommands share."""

from pathlib import Path

import click

from shim import store

bin_directory = click.option(
    "--bin-dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the launcher is.  [default: `bin` beside the store, ~/.nsed/bin]",
)


def default_bin_directory() -> Path:
    """The launcher's directory beside the store. Raises ClickException where there is no store."""
    try:
        return Path(store.directory(), "bin")
    except store.StoreError as problem:
        raise click.ClickException(str(problem)) from problem
