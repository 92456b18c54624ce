"""The locks of this host's conversations, for changes that the sync daemon makes on its own."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from shim.locks.record_lock import FILE_NAME, Lock, conversation_offset

if TYPE_CHECKING:
    from collections.abc import Iterator


class LocalLocks:
    """The locks of a store. The daemon holds one for as long as it changes files."""

    def __init__(self, store: str) -> None:
        # One descriptor for all locks: closing any descriptor of the file releases every lock.
        self._file = os.open(f"{store}/{FILE_NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Release all locks."""
        os.close(self._file)

    @contextlib.contextmanager
    def locked(self, session_id: str) -> Iterator[bool]:
        """Try to hold a conversation's lock inside the block; yields whether it is held."""
        lock = Lock(self._file, conversation_offset(session_id))
        try:
            is_ours = lock.try_acquire(is_long_running=False)
        except OSError:
            yield True  # a filesystem without locks: nobody holds one
            return
        try:
            yield is_ours
        finally:
            if is_ours:
                lock.release()
