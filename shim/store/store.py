"""sessions.json: which session id a room and agent have.

The format, the lock and the permissions are those of NSED's session store, whose Rust processes
use the same file at the same time: `{room: {agent: {"uuid", "last_used"}}}`, an exclusive `flock`
on the file itself for the whole of each change, the file rewritten in place.
"""

import time

from shim.base import environment
from shim.base.files import content, is_own_directory, make_directory, make_own_directory
from shim.base.messages import warn
from shim.base.times import timestamp
from shim.store import layout, locked_file
from shim.store.layout import NotCanonical

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final, TypeVar

    from shim.store.document import Document
    from shim.store.rewrite import Change

    T = TypeVar("T")

FILE_NAME: "Final" = "sessions.json"


def directory(make: bool = True) -> str:
    """The store's directory: that of `lasting_directory`, else a temporary one with a warning.

    With `make` the temporary one is made, and what was recorded there before this user had another
    is taken over. Raises Failure where it is not safely this user's.
    """
    if named := _named_directory():
        return named
    user = environment.get("USER") or environment.get("USERNAME") or "unknown"
    temporary = environment.get("TMPDIR") or "/tmp"
    path = f"{temporary}/nsed-sessions-{user.replace('/', '_')}"
    where = _directory_in_home()
    if where is None:
        if make:
            make_own_directory(path)
        warn(
            "neither HOME nor USERPROFILE is set, and this user has no home directory: sessions"
            f" are stored in {path}"
        )
        return path
    if make:
        from shim.store import taking_over  # seldom: HOME is set

        taking_over.take_over(f"{where}/{FILE_NAME}", f"{path}/{FILE_NAME}")
    return where


def lasting_directory() -> str | None:
    """The store's directory, if it is not a temporary one.

    `NSED_SESSION_DIR`, else `.nsed` in `$HOME` or `%USERPROFILE%`, else in the home directory that
    the password database has: claude itself looks there, so that a service without HOME and a
    person have one store.
    """
    return _named_directory() or _directory_in_home()


def _named_directory() -> str | None:
    """The directory that a variable names."""
    if named := environment.get("NSED_SESSION_DIR"):
        return named
    home = environment.get("HOME") or environment.get("USERPROFILE")
    return home + "/.nsed" if home else None


def _directory_in_home() -> str | None:
    """The directory in the home of the password database, if that is this user's."""
    home = environment.home()
    is_own = home and (is_own_directory(home) or is_own_directory(home + "/.nsed"))
    return home + "/.nsed" if is_own else None


class Store:
    """The mappings in one directory. Every method but the constructor may raise Failure."""

    __slots__ = ("directory", "path", "patience")

    def __init__(self, where: str) -> None:
        self.directory = where
        self.patience = locked_file.PATIENCE
        self.path = f"{where}/{FILE_NAME}"

    def recall(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None; an entry counts as used now.

        Where the lock cannot be had, what the file says is taken without it.
        """
        try:
            return self.locked(lambda file: self._find(file, room, agent, touch=True))
        except locked_file.StoreLocked:
            self.patience = 0.0  # the lock is stuck: no further wait for it
            return locked_file.with_file(
                self.path, lambda file: self._find(file, room, agent, is_locked=False)
            )

    def get(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None."""
        return self.locked(lambda file: self._find(file, room, agent))

    def record(self, room: str, agent: str, session_id: str) -> None:
        """Map a room and agent to a session id, used now."""
        make_directory(self.directory)
        self.locked(lambda file: self._record(file, room, agent, session_id), create=True)

    def mappings(self) -> "Document":
        """Every mapping, as the document has it, parsed while nobody waits for it."""
        from shim.store import document, rewrite

        try:
            return document.parse(self.locked(content) or b"")
        except document.InvalidDocument:
            return self.locked(lambda file: rewrite.load(self.path, file)) or {}

    def change(self, action: "Change") -> None:
        """Let the action change the parsed mappings; the heads it returns go to the history."""
        from shim.store import rewrite

        make_directory(self.directory)
        self.locked(lambda file: rewrite.change(self.path, file, action), create=True)

    def drop(self, doomed: "Document") -> int:
        """Drop mappings, each unless it was used or changed since; return how many there were."""
        if not doomed:
            return 0
        from shim.store import rewrite

        return self.locked(lambda file: rewrite.drop(self.path, file, doomed)) or 0

    def cleanup_stale(self, max_age: float) -> int:
        """Drop the mappings unused for more than `max_age` seconds, and rooms left empty.

        Returns how many mappings were dropped.
        """
        from shim.store import document

        cutoff = time.time_ns() - int(max_age * 1_000_000_000)
        return self.drop(document.unused_since(self.mappings(), cutoff))

    def locked(self, action: "Callable[[int], T]", create: bool = False) -> "T | None":
        """What the action returns, given the open file and its lock; None where there is no file.

        Waits a bounded time for the lock, then raises Busy.
        """
        return locked_file.with_lock(self.path, action, create, self.patience)

    def _find(
        self,
        file: int,
        room: str,
        agent: str,
        touch: bool = False,
        is_locked: bool = True,
    ) -> str | None:
        """The session id of a room and agent, or None; `touch` says that it is used now."""
        try:
            entry = layout.find(file, layout.quote(room), layout.quote(agent))
            if entry is None and locked_file.has_shrunk(self.path, file):
                raise NotCanonical  # it may have been begun anew
            if entry is None:
                return None
            if touch:
                layout.touch(file, entry)
            return entry.session_id
        except NotCanonical:
            from shim.store import rewrite

            return rewrite.find(self.path, file, room, agent, touch, is_locked)

    def _record(self, file: int, room: str, agent: str, session_id: str) -> None:
        quoted = layout.quote(room), layout.quote(agent)
        try:
            entry = layout.find(file, *quoted)
            if entry is not None and entry.session_id == session_id:
                layout.touch(file, entry)
                return
            if entry is not None:
                raise NotCanonical  # another id may have another width
            stamp = timestamp(time.time_ns())
            added = layout.quote(session_id)[1:-1]
            data = layout.inserted(content(file), *quoted, added, stamp)
        except NotCanonical:
            from shim.store import rewrite

            data = rewrite.recorded(self.path, file, room, agent, session_id)
        locked_file.commit(self.path, file, data)
