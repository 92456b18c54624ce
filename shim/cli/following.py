"""What is said in a room, as it is said: in its conversation and in the forks of it."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from shim.base.messages import Failure
from shim.claude import lines
from shim.cli import reading, room_transcripts
from shim.cli.room_transcripts import EARLIER, HEAD
from shim.forks import fork_marker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shim.cli.fleet_copies import Copies
    from shim.cli.mapped import Mapping
    from shim.cli.reading import Extent, Utterance
    from shim.cli.room_transcripts import RoomFile
    from shim.store.store import Store

# Seconds between two looks at the files, and between two at which files there are.
_LOOK = 0.1
_LOOK_AROUND = 1.0


class Follower:
    """Follows the conversation of a room and agent, whichever that is by and by."""

    def __init__(
        self,
        store: Store,
        mapping: Mapping,
        extent: Extent,
        with_tools: bool,
        copies: Copies | None,
    ) -> None:
        """`copies` are what other hosts have, where there is a fleet."""
        self.session_id = mapping.session_id
        self._store = store
        self._mapping = mapping
        self._extent = extent
        self._with_tools = with_tools
        self._copies = copies
        self._away: RoomFile | None = None
        # Up to where each file was read, and each conversation.
        self._read: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        # What was shown: a turn of a fork is appended to the conversation later.
        self._shown: set[str] = set()

    def messages(self) -> Iterator[list[Utterance]]:
        """The last messages, then new ones as they come, without end. Raises OSError."""
        files = self._files()
        for file in files:
            # What is written from now on; the line that is being written as a whole.
            self._start_at(file, file.size)
        for file in files[:1]:
            if file.conversation.part == HEAD:
                directory = self._store.directory
                first = reading.messages(file, directory, self._extent, self._with_tools)
                self._shown.update(message.uuid for message in first)
                yield first
        looked = time.monotonic()
        while True:
            for file in files:
                if new := self._new(file):
                    yield new
            time.sleep(_LOOK)
            if time.monotonic() - looked > _LOOK_AROUND:
                files = self._files()
                looked = time.monotonic()

    def _files(self) -> list[RoomFile]:
        """The files of the conversation and of its forks, that of the head first."""
        away = self._fetched()
        current = self._store.get(self._mapping.room, self._mapping.agent)
        self.session_id = away.conversation.session_id if away else current or self.session_id
        mapping = self._mapping._replace(session_id=self.session_id)
        directory = self._store.directory
        found = room_transcripts.conversations(directory, [mapping])
        here = room_transcripts.files(directory, (it for it in found if it.part != EARLIER))
        return [away, *here] if away else here

    def _fetched(self) -> RoomFile | None:
        """The conversation as another host has it, where that had it last."""
        if self._copies is None:
            return None
        with contextlib.suppress(Failure):  # the server returns, or it is over
            self._away = self._copies.current(self._mapping.room, self._mapping.agent)
        return self._away

    def _new(self, file: RoomFile) -> list[Utterance]:
        """What was written into a file since the last look, but for what was shown."""
        session_id = file.conversation.session_id
        found: list[Utterance] = []
        try:
            if file.path not in self._read:
                self._start_at(file, self._known(file))
            with file.open() as opened:
                for line in lines.forward(opened, self._read[file.path]):
                    if not line.is_whole:
                        break
                    self._read[file.path] = self._ends[session_id] = line.end
                    found += self._in_line(line, session_id)
        except OSError:
            return []  # it has just been deleted
        return found

    def _start_at(self, file: RoomFile, size: int) -> None:
        """Begin with the line of a place in a file. Raises OSError."""
        with file.open() as opened:
            start = lines.start_of_line(opened, min(size, file.size))
        self._read[file.path] = self._ends[file.conversation.session_id] = start

    def _known(self, file: RoomFile) -> int:
        """Up to where a file that has come is known: as another copy, or to the head of a fork."""
        session_id = file.conversation.session_id
        if session_id in self._ends:
            return self._ends[session_id]
        marker = fork_marker.of_fork(self._store.directory, session_id)
        return marker.fork_read.size if marker else 0

    def _in_line(self, line: lines.Line, session_id: str) -> list[Utterance]:
        uuid = line.entry.get("uuid")
        if not isinstance(uuid, str) or uuid in self._shown:
            return []
        self._shown.add(uuid)
        is_apart = session_id != self.session_id
        return reading.in_entry(line.entry, session_id, is_apart, self._with_tools)
