"""The options and subcommands that were learned of the claudes here, kept beside the store.

Learning takes as long as claude's start: it is loaded late, by `_learn`, once for each claude.
"""

import posix

from shim.base import times
from shim.base.messages import explain
from shim.claude import spec_cache
from shim.claude.cli_spec import CliSpec, built_in


def cli_spec_of(claude: str, store: str) -> CliSpec:
    """The surface of a claude: as learned from its `--help`, else the built-in one.

    What was learned is kept in the store's directory. A program that was updated, in place or
    behind a link or a script, is another, and is learned anew; of a script that does not say what
    it runs, housekeeping asks again each day.
    """
    try:
        path = spec_cache.path(claude, store)
    except OSError:
        return built_in()
    learned = spec_cache.read(path) or _learn(claude, store, path)
    return CliSpec(learned, is_discovered=True) if learned else built_in()


def known(claude: str, store: str) -> CliSpec | None:
    """The surface of a claude, if it was learned before. Raises OSError where it is gone."""
    learned = spec_cache.read(spec_cache.path(claude, store))
    return CliSpec(learned, is_discovered=True) if learned else None


def failed(claude: str, store: str) -> bool:
    """Whether the help of a claude said nothing we understand. Raises OSError where it is gone."""
    return posix.access(spec_cache.path(claude, store) + ".failed", posix.F_OK)


def _learn(claude: str, store: str, path: str) -> str | None:
    try:
        if not times.has_passed(path + ".failed"):
            return None  # its help said nothing within the day
    except OSError:
        pass  # it was never asked
    try:
        from shim.claude import spec_discovery

        return spec_discovery.learn(claude, store)
    except Exception as problem:
        explain(f"the options of {claude} cannot be learned ({problem}): the built-in table serves")
        return None
