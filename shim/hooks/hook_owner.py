"""Whose claude runs a hook: which store, and which room and agent in it."""

import posix

from shim.base import environment
from shim.base.session_key import SessionKey, named_key
from shim.store import plugin_links
from shim.store.store import directory


def owner() -> tuple[str, SessionKey] | None:
    """The store's directory and the session key that a hook serves; None where there is no key.

    They are what its path says, and not what the environment does: a worker in the background has
    that of another room's claude. Raises OSError, ValueError where the path says nothing sound.
    """
    root = plugin_root()
    if plugin_links.is_link(root):
        return plugin_links.owner(root)
    # Of a claude that was started by the version before: it was given the plugin itself.
    key = named_key(posix.environ)
    return (directory(), key) if key else None


def plugin_root() -> str:
    """The path of our plugin as claude was given it."""
    return environment.get("CLAUDE_PLUGIN_ROOT")
