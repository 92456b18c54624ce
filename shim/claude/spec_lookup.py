"""Look up the spec of a claude: cached, else discovered, else the built-in one.

Discovery takes as long as claude's start, once per claude; its module is imported only then.
"""

import posix

from shim.base import times
from shim.base.files import content
from shim.base.messages import explain
from shim.claude import spec_cache
from shim.claude.cli_spec import CliSpec, built_in


def cli_spec_of(claude: str, store: str) -> CliSpec:
    """The spec of a claude: as discovered from its `--help`, else the built-in one.

    Discovered specs are cached beside the store. An updated program, also behind a link or a
    script, is discovered again; for a script that does not name what it runs, housekeeping asks
    again each day.
    """
    try:
        path = spec_cache.path(claude, store)
    except OSError:
        return built_in()
    found = spec_cache.read(path) or _discover(claude, store, path)
    return CliSpec(found, is_discovered=True) if found else built_in()


def known(claude: str, store: str) -> CliSpec | None:
    """The cached spec of a claude, if there is one. Raises OSError if the program is gone."""
    found = spec_cache.read(spec_cache.path(claude, store))
    return CliSpec(found, is_discovered=True) if found else None


def failure(claude: str, store: str) -> str | None:
    """Why a claude's --help was not understood. Raises OSError if the program is gone."""
    try:
        file = posix.open(spec_cache.path(claude, store) + ".failed", posix.O_RDONLY)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return content(file).decode("utf-8", "replace")
    finally:
        posix.close(file)


def _discover(claude: str, store: str, path: str) -> str | None:
    try:
        if not times.has_passed(path + ".failed"):
            return None  # its help said nothing within the day
    except OSError:
        pass  # it was never asked
    try:
        from shim.claude import spec_discovery

        return spec_discovery.discover(claude, store)
    except Exception as problem:
        explain(f"cannot discover the options of {claude} ({problem}): using the built-in table")
        return None
