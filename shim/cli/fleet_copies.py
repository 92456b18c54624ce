"""Conversations as the fleet has them, fetched to be read here: no call is needed for that."""

from __future__ import annotations

import os
import tempfile
import time
from typing import TYPE_CHECKING

from shim.claude.transcripts import ENDING
from shim.cli.room_transcripts import HEAD, RoomConversation, RoomFile
from shim.fleet import overview

if TYPE_CHECKING:
    from types import TracebackType


class Copies:
    """A folder of this process with copies of transcripts, for as long as the context lasts."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._read: dict[str, int] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="claude-shim-")

    def __enter__(self) -> Copies:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def current(self, room: str, agent: str) -> RoomFile | None:
        """The conversation of a room that another host had last; None where this one did.

        Raises Failure.
        """
        its = overview.rooms(self._store).get((room, agent))
        if its is None or its.hostname is None or its.is_here:
            return None
        return self.fetch(RoomConversation(room, agent, its.session_id, HEAD))

    def fetch(self, conversation: RoomConversation) -> RoomFile | None:
        """The conversation as it is in the fleet now; None where that has none.

        What was fetched before is not fetched again. Raises Failure.
        """
        session_id = conversation.session_id
        path = f"{self._folder.name}/{session_id}{ENDING}"
        self._read[session_id] = overview.copy(
            self._store, session_id, path, self._read.get(session_id, 0)
        )
        if not os.path.exists(path):
            return None
        return RoomFile(conversation, path, time.time(), os.path.getsize(path))
