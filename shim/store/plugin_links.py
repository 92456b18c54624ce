"""Links to the plugin for claude, of each room and agent's own: the path says whose hook runs.

Claude hands the path to the plugin's hooks as it was named, and takes it along wherever it moves a
conversation: to a worker with the environment of another room's claude, for instance (FACTS.md,
"hooks"). Of each session key there is a directory `plugins/<digest>` in the store's, which holds
the key, and a link to each variant of the plugin that a claude of it was given.
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


def ensure(store: str, key: SessionKey, plugin: str, variant: str) -> str | None:
    """The path of a key's own link to a variant of the plugin, made where it is not there yet.

    `plugin` is the directory of all variants. None where that has no such variant, or the link
    cannot be made.
    """
    link = path(store, key, variant)
    if posix.access(link, posix.R_OK):
        return link
    target = f"{plugin}/{variant}"
    if not posix.access(target, posix.R_OK):
        return None
    try:
        _make(store, key, link, target)
    except (OSError, Failure) as problem:
        explain(f"{link} cannot be made ({problem}): where the conversation moves is not followed")
        return None
    return link


def path(store: str, key: SessionKey, variant: str) -> str:
    """Where a key's own link to a variant of the plugin is, or would be."""
    return f"{directory_of(store, key)}/{variant}"


def directory_of(store: str, key: SessionKey) -> str:
    """Where a key's own links are, or would be."""
    # Absolute, because claude may be in another directory when its hook runs.
    where = store if store.startswith("/") else f"{posix.getcwd()}/{store}"
    return f"{where}/{FOLDER}/{sha1(_content(key)).hex()}"


def is_link(plugin_root: str) -> bool:
    """Whether the path that claude names for the plugin is such a link."""
    return plugin_root.split("/")[-3:-2] == [FOLDER]


def owner(plugin_root: str) -> tuple[str, SessionKey]:
    """The store's directory and the session key that a link is of.

    Raises OSError, ValueError where nothing there says so.
    """
    of_key = plugin_root.rpartition("/")[0]
    return of_key.rsplit("/", 2)[0], key_of(of_key)


def key_of_worker() -> SessionKey | None:
    """The session key of the worker in the background that this process runs in.

    None where it runs in none, or that one was given no link.
    """
    from shim.claude import background_jobs

    links = filter(is_link, background_jobs.flags(background_jobs.own() or {}))
    try:
        return next((owner(link)[1] for link in links), None)
    except (OSError, ValueError):
        return None


def key_of(directory: str) -> SessionKey:
    """The session key that one of the directories is of. Raises OSError, ValueError."""
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
    # Renamed into its place: another call may make it, too, and its claude be reading it.
    unfinished = f"{link}.{posix.getpid()}.new"
    posix.symlink(target, unfinished)
    posix.rename(unfinished, link)


def _content(key: SessionKey) -> bytes:
    return key.room_bytes + _BETWEEN + key.agent_bytes
