"""`doctor --fix`: fix what needs no decision."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from shim.checks import storage
from shim.checks.setup import read
from shim.install import launcher
from shim.opencode import plugin
from shim.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.checks.setup import Setup


def fix(setup: Setup) -> Iterator[str]:
    """Fix the set-up, and yield each fix in words. Raises Failure or OSError where one fails."""
    yield from _store(setup)
    if setup.launcher is not None and setup.maker is not None and setup.stale:
        is_orphaned = not Path(setup.maker.package, "shim").is_dir()
        if setup.is_of_this_package or is_orphaned:
            launcher.install(setup.launcher.parent)
            yield f"renewed {setup.launcher}"
    for is_project in (False, True):
        path = plugin.path(is_project)
        if plugin.state(path) == plugin.OUTDATED:
            plugin.install(path)
            yield f"renewed {path}"


def _store(setup: Setup) -> Iterator[str]:
    if setup.store is None or not setup.store.is_dir():
        return
    saved = Path(f"{setup.sessions}.bak")
    is_lost = not setup.contents.is_there and os.path.lexists(saved)
    if setup.contents.damage or is_lost:
        Store(str(setup.store)).mappings()  # to read it recovers it
        yield f"recovered {setup.sessions}"
    elif saved.is_file() and setup.contents.is_there and not read(saved).is_sound:
        saved.unlink()
        yield f"removed {saved}; the next change writes a new one"
    for path in storage.open_to_others(setup.store, setup.sessions):
        path.chmod(path.stat().st_mode & 0o700)
        yield f"made {path} private"
