"""Links to the plugin for claude, one set for each session key: its path tells a hook the key.

Claude passes the path to the plugin's hooks as it was given, and keeps it wherever it moves a
conversation, for instance to a worker with the environment of another room's claude (help facts,
"Hooks"). The directory `plugins/<digest>` in the store holds the key, and a link to each variant of
the plugin that a claude of the key was given. Each installation has links of its own: a host and
its containers, for example, can share a store.
"""

import posix

from shim.base import files
from shim.base.messages import Failure, explain
from shim.base.session_key import SessionKey, sha1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

FOLDER: "Final" = "plugins"
KEY: "Final" = "key"

_LONGEST_KEY = 1 << 20
_BETWEEN = b"\0"
# Characters of the digest that tells one installation's links from another's.
_TAG = 8
# What the hooks of a variant run, beside the variants: this, but for the fleet's.
_HOOK = "follow"
_FLEET, _FLEET_HOOK = "fleet", "flush"


def ensure(store: str, key: SessionKey, plugin: str, variant: str) -> str | None:
    """The path of a key's link to a variant of the plugin, which is made if there is none.

    `plugin` is the directory of all variants. None if the hook of the variant cannot be run, or the
    link cannot be made.
    """
    link = path(store, key, plugin, variant)
    if runs(link):
        return link
    target = f"{plugin}/{variant}"
    if not posix.access(target, posix.R_OK) or not runs(target):
        explain(f"{target} has no hook that runs: the head will not follow the conversation")
        return None
    try:
        _make(store, key, link, target)
    except (OSError, Failure) as problem:
        explain(f"{link} cannot be made ({problem}): the head will not follow the conversation")
        return None
    return link


def path(store: str, key: SessionKey, plugin: str, variant: str) -> str:
    """The path of a key's link to a variant of an installation's plugin."""
    tag = sha1(plugin.encode("utf-8", "surrogateescape")).hex()[:_TAG]
    return f"{directory_of(store, key)}/{tag}-{variant}"


def runs(variant: str) -> bool:
    """Whether the hook of a variant of the plugin, or of a link to one, can be run."""
    hook = _FLEET_HOOK if variant.endswith(_FLEET) else _HOOK
    return posix.access(f"{variant}/../{hook}", posix.X_OK)


def directory_of(store: str, key: SessionKey) -> str:
    """The directory of a key's links."""
    # Absolute, because claude may be in another directory when its hook runs.
    where = store if store.startswith("/") else f"{posix.getcwd()}/{store}"
    return f"{where}/{FOLDER}/{sha1(_content(key)).hex()}"


def is_link(plugin_root: str) -> bool:
    """Whether the path that claude gives for the plugin is such a link."""
    return plugin_root.split("/")[-3:-2] == [FOLDER]


def owner(plugin_root: str) -> tuple[str, SessionKey]:
    """The store's directory and the session key of a link. Raises OSError, ValueError."""
    of_key = plugin_root.rpartition("/")[0]
    return of_key.rsplit("/", 2)[0], key_of(of_key)


def key_of_worker() -> SessionKey | None:
    """The session key of the background worker that this process runs in.

    None if it runs in none, or if that worker has no link.
    """
    from shim.claude import background_jobs

    links = filter(is_link, background_jobs.flags(background_jobs.own() or {}))
    try:
        return next((owner(link)[1] for link in links), None)
    except (OSError, ValueError):
        return None


def key_of(directory: str) -> SessionKey:
    """The session key of a directory of links. Raises OSError, ValueError."""
    file = posix.open(f"{directory}/{KEY}", posix.O_RDONLY | posix.O_NONBLOCK)
    try:
        room, agent = posix.read(file, _LONGEST_KEY).split(_BETWEEN)
    finally:
        posix.close(file)
    return SessionKey(room, agent)


def _make(store: str, key: SessionKey, link: str, target: str) -> None:
    of_key = link.rpartition("/")[0]
    files.make_directory(store)
    for directory in (of_key.rpartition("/")[0], of_key):
        try:
            posix.mkdir(directory, 0o700)
        except FileExistsError:
            pass
    if not posix.access(f"{of_key}/{KEY}", posix.F_OK):
        files.replace(f"{of_key}/{KEY}", _content(key))
    try:
        posix.unlink(link)  # it leads nowhere
    except FileNotFoundError:
        pass
    try:
        posix.symlink(target, link)
    except FileExistsError:
        pass  # another call was faster


def _content(key: SessionKey) -> bytes:
    return key.room_bytes + _BETWEEN + key.agent_bytes
