"""A conversation's transcript as its log has it, in a file for somebody who only reads it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from shim.fleet.records import TRANSCRIPT
from shim.fleet.snapshots import NeedsFullLog, Snapshot, apply_to

if TYPE_CHECKING:
    from shim.fleet.backend import Backend


async def write(backend: Backend, session_id: str, path: str, after: int) -> int:
    """Write the transcript into a file that nobody else writes; no lease is needed.

    `after` is what the last call for that file returned, else 0: only records since are read.
    Returns the sequence of the log's last record, 0 where there is no log. Raises OSError,
    Unavailable, DamagedLog, Hostile.
    """
    last = await backend.last(session_id)
    until = last.sequence if last else 0
    if until < after or not os.path.exists(path):
        after = 0
    base = os.path.getsize(path) if after else 0
    while until > after:
        snapshot = Snapshot({TRANSCRIPT: base}, is_whole=after == 0)
        try:
            await snapshot.read(backend.records(session_id, after, until), after)
            apply_to(path, snapshot.transcript, base, snapshot.transcript.end)
            break
        except NeedsFullLog:
            after = base = 0
        finally:
            snapshot.close()
    return until
