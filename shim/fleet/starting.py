"""Starting a store's sync daemon, which the first call of a host does."""

import os

from shim.base import files
from shim.retention import detaching


def start(store: str) -> None:
    """Start it in the background, unless one runs: of several, one gets its lock and stays.

    Raises Failure where the store's directory cannot be made.
    """
    files.make_directory(store)
    detaching.start("shim.fleet.sync_daemon", [os.path.abspath(store)], lambda: None)
