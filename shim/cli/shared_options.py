"""Options that several subcommands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from shim.store import store

if TYPE_CHECKING:
    from collections.abc import Callable

    Command = Callable[..., Any]


def _bin_directory(help_text: str) -> Callable[[Command], Command]:
    return click.option(
        "--bin-dir",
        "directory",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"{help_text}  [default: `bin` beside the store, ~/.nsed/bin]",
    )


bin_directory = _bin_directory("The launcher's directory.")
new_bin_directory = _bin_directory("The directory to write it to.")


def default_bin_directory() -> Path:
    """The launcher's directory beside the store. Raises Failure if there is no store."""
    return Path(store.directory(), "bin")
