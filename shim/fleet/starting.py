"""Starting a store's courier, which the first call of a host does."""

import os

from shim.base import files
from shim.keep import detaching


def start(store: str) -> None:
    """Start it in the background, unless one runs: of several, one gets its lock and stays.

    Raises Failure where the store's directory cannot be made.
    """
    files.make_directory(store)
    detaching.start("shim.fleet.courier", [os.path.abspath(store)], lambda: None)
