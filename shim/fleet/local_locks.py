"""The leases that conversations have on this host, for what a courier changes by itself."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from shim.locks.record_lock import FILE_NAME, Lock, conversation_offset

if TYPE_CHECKING:
    from collections.abc import Iterator


class Leases:
    """The leases of a store, of which a courier takes one for as long as it changes files."""

    def __init__(self, store: str) -> None:
        # Once: closing any descriptor of it would give all back that we have.
        self._file = os.open(f"{store}/{FILE_NAME}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        """Give all back."""
        os.close(self._file)

    @contextlib.contextmanager
    def of(self, session_id: str) -> Iterator[bool]:
        """Have a conversation's lease, if nobody has it; whether we do."""
        lease = Lock(self._file, conversation_offset(session_id))
        try:
            is_ours = lease.try_acquire(is_long_running=False)
        except OSError:
            yield True  # a filesystem without locks: nobody has one
            return
        try:
            yield is_ours
        finally:
            if is_ours:
                lease.release()
