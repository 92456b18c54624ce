"""Sessions that could not be recorded, noted beside the store for the next call and for doctor.

A note is a symbolic link, which needs no space on a full disk: `unrecorded-<digest of the key>`
leads to the session id and the number of the error. The link `unrecorded` means that there are any.
"""

import posix

from shim.base import session_key
from shim.base.messages import Failure, explain, warn
from shim.base.session_key import SessionKey, is_session_id, sha1
from shim.store import plugin_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Protocol

    from shim.store.document import Document
    from shim.store.history import Head
    from shim.store.rewrite import Change

    class _Recorded(Protocol):
        directory: str

        def record(self, room: str, agent: str, session_id: str) -> None: ...


FLAG = "unrecorded"
_PREFIX = FLAG + "-"


def note(directory: str, room: str, agent: str, session_id: str, problem: Failure) -> None:
    """Note a session that could not be recorded, and why."""
    number = getattr(problem.__cause__, "errno", None) or 0
    try:
        _link(f"{session_id} {number}", _path(directory, room, agent))
        _link(FLAG, f"{directory}/{FLAG}")
    except OSError as reason:
        explain(f"what is not recorded cannot be noted: {reason.strerror}")


def recorded(store: "_Recorded", room: str, agent: str, head: str | None) -> str | None:
    """The session of a room and agent that could not be recorded before: it is recorded now.

    None if there is none but the head, which is stored. It is resumed, too, if it still cannot be
    recorded.
    """
    noted = _read(_path(store.directory, room, agent))
    if noted is None:
        return None
    session_id, reason = noted
    if session_id == head:  # the hook in C notes each conversation that a turn begins in
        drop(store.directory, room, agent)
        return None
    try:
        store.record(room, agent, session_id)  # which drops the note
    except Failure as problem:
        warn(f"{problem}; resuming a conversation that is not recorded")
    else:
        warn(f"the current conversation could not be recorded before ({reason}); it is now")
    return session_id


def drop(directory: str, room: str, agent: str) -> None:
    """Remove the note of a room and agent, and the flag with the last one."""
    for path in (_path(directory, room, agent), f"{directory}/{FLAG}"):
        if path.endswith(FLAG) and any(_noted(directory)):
            return
        try:
            posix.unlink(path)
        except OSError:
            pass  # there is none


def dropping(directory: str, action: "Change") -> "Change":
    """A change that also removes the notes of the rooms and agents that get another session."""

    def act(mappings: "Document") -> "Iterable[Head]":
        before = _ids(mappings)
        heads = list(action(mappings))
        for (room, agent), _ in before ^ _ids(mappings):
            drop(directory, room, agent)
        return heads

    return act


def pending(directory: str, mappings: "Document") -> list[tuple[str, str]]:
    """Each room and agent, as words, whose session could not be recorded, and why."""
    keys = {
        _digest(room, agent): session_key.stored_key(room, agent)
        for room, entries in mappings.items()
        for agent in entries
    }
    found = []
    for digest in _noted(directory):
        noted = _read(f"{directory}/{_PREFIX}{digest}")
        key = keys.get(digest) or _key_of_plugin(directory, digest)
        if noted is not None:
            found.append((str(key or "a room"), noted[1]))
    return found


def _ids(mappings: "Document") -> set[tuple[tuple[str, str], str]]:
    return {
        ((room, agent), str(entry["uuid"]))
        for room, entries in mappings.items()
        for agent, entry in entries.items()
    }


def _key_of_plugin(directory: str, digest: str) -> SessionKey | None:
    try:
        return plugin_links.key_of(f"{directory}/{plugin_links.FOLDER}/{digest}")
    except (OSError, ValueError):
        return None


def _noted(directory: str) -> list[str]:
    """The digests of the keys that have a note."""
    names = posix.listdir(directory)
    return [name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)]


def _read(path: str) -> tuple[str, str] | None:
    """The session id of a note, and why it could not be recorded."""
    try:
        session_id, _, number = posix.readlink(path).partition(" ")
    except OSError:
        return None
    reason = posix.strerror(int(number)) if number.isdigit() and number != "0" else "unknown error"
    return (session_id, reason) if is_session_id(session_id) else None


def _link(target: str, path: str) -> None:
    try:
        posix.unlink(path)
    except FileNotFoundError:
        pass
    posix.symlink(target, path)


def _path(directory: str, room: str, agent: str) -> str:
    return f"{directory}/{_PREFIX}{_digest(room, agent)}"


def _digest(room: str, agent: str) -> str:
    """As the folder of the key's plugin links is named."""
    key = session_key.stored_key(room, agent)
    return sha1(key.room_bytes + b"\0" + key.agent_bytes).hex()
