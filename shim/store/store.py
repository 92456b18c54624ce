"""sessions.json: which session id a room and agent have.

The format, the lock and the permissions are those of NSED's session store, whose Rust processes
use the same file at the same time: `{room: {agent: {"uuid", "last_used"}}}`, an exclusive `flock`
on the file itself for the whole of each change, the file rewritten in place.
"""

import posix
import time

from shim.base import environment, session_key
from shim.base.files import content, is_own_directory, make_directory, make_own_directory, write
from shim.base.messages import Failure, warn
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
UNRECORDED: "Final" = "unrecorded"


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

    __slots__ = ("directory", "path", "timeout")

    def __init__(self, where: str) -> None:
        self.directory = where
        self.timeout = locked_file.TIMEOUT
        self.path = f"{where}/{FILE_NAME}"

    def recall(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None; an entry counts as used now.

        If the lock cannot be acquired, the file is read without it. A session that could not be
        recorded before is recorded now.
        """
        try:
            found = self.locked(lambda file: self._find(file, room, agent, touch=True))
        except locked_file.StoreLocked:
            self.timeout = 0.0  # the lock is stuck: do not wait for it again
            found = locked_file.with_file(
                self.path, lambda file: self._find(file, room, agent, is_locked=False)
            )
        if not _has_unrecorded(self.directory):
            return found
        from shim.store import unrecorded  # seldom: a disk was full

        return unrecorded.recorded(self, room, agent, found) or found

    def get(self, room: str, agent: str) -> str | None:
        """The session id of a room and agent, or None."""
        return self.locked(lambda file: self._find(file, room, agent))

    def record(self, room: str, agent: str, session_id: str) -> None:
        """Map a room and agent to a session id, used now.

        What cannot be recorded is noted for the next call.
        """
        try:
            make_directory(self.directory)
            self.locked(lambda file: self._record(file, room, agent, session_id), create=True)
        except Failure as problem:
            from shim.store import unrecorded

            unrecorded.note(self.directory, room, agent, session_id, problem)
            raise
        if _has_unrecorded(self.directory):
            from shim.store import unrecorded

            unrecorded.drop(self.directory, room, agent)

    def mappings(self) -> "Document":
        """Every mapping, as the document has it; it is parsed without the lock."""
        from shim.store import document, rewrite

        try:
            return document.parse(self.locked(content) or b"")
        except document.InvalidDocument:
            return self.locked(lambda file: rewrite.load(self.path, file)) or {}

    def change(self, action: "Change") -> None:
        """Let the action change the parsed mappings; the heads it returns go to the history."""
        from shim.store import rewrite

        make_directory(self.directory)
        if _has_unrecorded(self.directory):
            from shim.store import unrecorded

            action = unrecorded.dropping(self.directory, action)
        self.locked(lambda file: rewrite.change(self.path, file, action), create=True)

    def drop(self, doomed: "Document") -> int:
        """Drop mappings, each unless it was used or changed since; return how many were dropped."""
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
        """What the action returns, given the open file with its lock; None if there is no file.

        Raises StoreLocked if another process keeps the lock.
        """
        return locked_file.with_lock(self.path, action, create, self.timeout)

    def _find(
        self, file: int, room: str, agent: str, touch: bool = False, is_locked: bool = True
    ) -> str | None:
        """The session id of a room and agent, or None; `touch` says that it is used now."""
        quoted = layout.quote(room), layout.quote(agent)
        try:
            entry = layout.find(file, *quoted)
            if entry is None and locked_file.has_shrunk(self.path, file):
                raise NotCanonical  # another program may have begun it anew
            if entry is None:
                return None
            if touch:
                layout.touch(file, entry)
                self._note_replaced_head(entry, room, agent)
            return entry.session_id
        except NotCanonical:
            from shim.store import rewrite

            return rewrite.find(self.path, file, room, agent, touch, is_locked)

    def _note_replaced_head(self, entry: layout.Entry, room: str, agent: str) -> None:
        """Note the head that only the backup still has: another program has replaced it."""
        quoted = layout.quote(room), layout.quote(agent)

        def find(backup: int) -> layout.Entry | None:
            try:
                return layout.find(backup, *quoted, entry.room_at)
            except NotCanonical:
                return None  # torn

        before = locked_file.with_backup(self.path, find, create=False)
        if before is not None and before.session_id != entry.session_id:
            from shim.store import rewrite  # seldom: NSED's record does so

            if rewrite.remember(self.path, room, agent, before.fields()):
                self._replace_in_backup(before, entry.session_id)

    def _record(self, file: int, room: str, agent: str, session_id: str) -> None:
        try:
            self._record_in_place(file, room, agent, session_id)
        except NotCanonical:
            from shim.store import rewrite

            rewrite.record(self.path, file, room, agent, session_id)

    def _record_in_place(self, file: int, room: str, agent: str, session_id: str) -> None:
        """Record without a parse. Raises NotCanonical if that is not possible."""
        quoted, stamp = (layout.quote(room), layout.quote(agent)), timestamp(time.time_ns())
        quoted_id = layout.quote(session_id)[1:-1]
        room_at = layout.find_room(file, quoted[0])
        entry = None if room_at is None else layout.find_in_room(file, room_at, *quoted)
        if entry is not None and entry.session_id == session_id:
            layout.touch(file, entry)
            return
        if entry is not None:
            self._replace_id(file, entry, room, agent, session_id)
            return
        end = layout.end(file)
        if not self._is_backup_in_step(file, end):
            raise NotCanonical
        if room_at is not None:
            data = layout.inserted(content(file), *quoted, quoted_id, stamp)
            locked_file.commit(self.path, file, data)
            return
        text, at = layout.appended(*quoted, quoted_id, stamp, end)
        derived = session_key.derive(session_key.stored_key(room, agent))
        locked_file.append(self.path, file, text, at, is_durable=session_id != derived)

    def _is_backup_in_step(self, file: int, end: int) -> bool:
        """Whether the backup has the same document as the file, but for times of use."""

        def compare(backup: int) -> bool:
            try:
                is_as_long = layout.end(backup) == end
            except NotCanonical:
                return False
            return is_as_long and layout.last_ids(backup, end) == layout.last_ids(file, end)

        found = locked_file.with_backup(self.path, compare, create=False)
        return end == 0 if found is None else found

    def _replace_id(
        self, file: int, entry: layout.Entry, room: str, agent: str, session_id: str
    ) -> None:
        """Put a session id in the place of one as long, which needs no space on the disk.

        Raises NotCanonical where it is not as long, or where a power cut could mix both ids: over
        two blocks of the disk, unless that has no space for more.
        """
        new = layout.quote(session_id)[1:-1]
        if len(new) != len(layout.quote(entry.session_id)) - 2:
            raise NotCanonical
        if entry.is_over_two_blocks and not locked_file.is_full(file):
            raise NotCanonical
        from shim.store import rewrite

        is_noted = rewrite.remember(self.path, room, agent, entry.fields())
        write(file, new, entry.id_at)
        layout.touch(file, entry)
        posix.fsync(file)
        if is_noted:  # else the next call finds the earlier head in the backup
            self._replace_in_backup(entry, session_id)

    def _replace_in_backup(self, entry: layout.Entry, session_id: str) -> None:
        """Put a session id in the place of an entry's in the backup, if it is as long."""
        old, new = (layout.quote(each)[1:-1] for each in (entry.session_id, session_id))

        def replace(backup: int) -> None:
            if len(new) == len(old) and posix.pread(backup, len(old), entry.id_at) == old:
                write(backup, new, entry.id_at)

        locked_file.with_backup(self.path, replace, create=False)


def _has_unrecorded(directory: str) -> bool:
    """Whether sessions are noted that could not be recorded."""
    try:
        posix.lstat(f"{directory}/{UNRECORDED}")
    except OSError:
        return False
    return True
