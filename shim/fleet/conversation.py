"""A conversation of this host in the fleet: taken, brought, followed, forked where it was taken.

`lock` is for whoever does any of that. A method that raises Unavailable leaves all as it is, to be
done again when the backend is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING

from shim.base import times
from shim.base.messages import explain
from shim.base.session_key import new_session_id
from shim.claude import turns
from shim.fleet import forking, notes, snapshots
from shim.fleet.backend import Conflict, Unavailable
from shim.fleet.followed_files import FollowedFiles
from shim.fleet.log import APPEND_TIMEOUT, Held, Log
from shim.fleet.records import TRANSCRIPT
from shim.fleet.snapshots import NeedsFullLog, Snapshot, Verdict
from shim.fleet.synced_offset import Rewritten, SyncedOffset

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shim.fleet.backend import Backend
    from shim.fleet.host import Host
    from shim.fleet.local_locks import LocalLocks

_MOST_RECORDS = 5000
# Seconds between two tries of what is not possible yet: each time twice as many.
_RESTS, _RESTS_AT_MOST = 1.0, 60.0


class FleetConversation:
    """A conversation by the session id that this host's file is named by.

    `claudes` are those that live on it here, each with how it runs. What they say goes into the log
    of that session id, or, where another host had it meanwhile, into that of a fork. `on_fork` is
    called with the note of a fork that has a file of its own by now.
    """

    def __init__(
        self,
        backend: Backend,
        this_host: Host,
        store: str,
        local_locks: LocalLocks,
        note: notes.Note,
        on_fork: Callable[[notes.Note], None],
    ) -> None:
        self.note = note
        self.lock = asyncio.Lock()
        self.claudes: dict[int, str] = {}
        # Whether its claude was told that it goes on alone, and why a later turn was late unsaid.
        self.is_alone, self.was_late = False, ""
        # How many calls are asking for it.
        self.asked_for = 0
        self.transcript = note.transcript
        self.since = times.now()
        self._backend = backend
        self._this_host = this_host
        self._store = store
        self._local_locks = local_locks
        self._on_fork = on_fork
        self._directory = notes.directory(store)
        self.log = Log(backend, note.fork or note.session_id, this_host)
        self._files_followed: FollowedFiles | None = None
        self._rests_until, self._rests_for = 0.0, _RESTS
        # Whether who asks for it has its lease on this host, and waits.
        self._is_asked_for = False

    @property
    def session_id(self) -> str:
        """The session id that this host's file is named by."""
        return self.note.session_id

    @property
    def _project(self) -> str:
        """What claude calls the directory that it has the conversation in here."""
        return os.path.basename(os.path.dirname(self.transcript))

    @property
    def is_fenced(self) -> bool:
        """Whether another host has the conversation that a claude here still lives on."""
        return self.note.fork is not None

    @property
    def has_synced(self) -> bool:
        """Whether its log has something of the transcript, for other hosts to resume."""
        tail = self.note.tails.get(TRANSCRIPT)
        return self.log.is_held and tail is not None and tail.size > 0

    def is_due(self) -> bool:
        """Whether there may be something to do for it now, at the price of a look at its files."""
        if self.lock.locked() or time.monotonic() < self._rests_until:
            return False
        if self._files_followed is None or not self.claudes or notes.is_due(self.note):
            return True
        return self._files_followed.has_news()

    def back_off(self) -> None:
        """Do nothing for it by itself for a while: what was to be done is not possible yet."""
        self._rests_until = time.monotonic() + self._rests_for
        self._rests_for = min(2 * self._rests_for, _RESTS_AT_MOST)

    def reset_backoff(self) -> None:
        """Know that all was done that was to be done."""
        self._rests_for = _RESTS

    def behind(self) -> int:
        """How many bytes are not in the log yet."""
        return (self._files_followed or FollowedFiles(self.transcript, self.note.tails)).behind()

    async def acquire(self, pid: int, kind: str) -> None:
        """Take it for a claude that starts now, with all turns of other hosts.

        Who asks for it has its lease on this host. Raises Held, Unavailable, DamagedLog, OSError.
        """
        if self.log.is_held and self.claudes:
            return  # another one here has it already
        with self._asked_for():
            self._finish_fork()
            await self._claim(pid, kind)

    async def look(self, until: int) -> bool:
        """Bring what another host that has it has said; whether its turn is under way.

        Raises Unavailable, DamagedLog, OSError.
        """
        with self._asked_for():
            self._finish_fork()
            await self._reconcile(until)
            self.remember()
        return turns.has_ended(self.transcript) is False

    async def sync(self, timeout: float = APPEND_TIMEOUT) -> None:
        """Append what is new here. Raises Unavailable."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            try:
                if not self.log.is_held or self._files_followed is None:
                    await self._adopt()
                assert self._files_followed is not None
                await self._files_followed.append(self.log, deadline)
            except Conflict:
                continue  # look who has it
            except Held as held:
                if not self.claudes:
                    await self._reconcile(held.by.sequence)
                    return
                await self._fork()
                continue
            except Rewritten:
                self._files_followed = None
                await self._reconcile(self.log.sequence)
                continue
            except FileNotFoundError as problem:
                explain(f"{problem.filename} is gone")
            break
        if self.behind() == 0:
            self.note.behind = False
        if self._files_followed is not None:
            self.note.tails = self._files_followed.tails

    async def finish(self) -> None:
        """Append what is left, and give the conversation back. Raises Unavailable."""
        await self.sync()
        if not self.log.is_held:
            return
        try:
            if self._has_too_many_records():
                await self._compact()
            await self.log.release()
        except Conflict:
            explain(f"{self.session_id} is another host's already")
        self.note.behind = False
        self.remember()
        self._finish_fork()

    def remember(self) -> None:
        """Keep the note."""
        self.note.transcript = self.transcript
        if self._files_followed is not None:
            self.note.tails = self._files_followed.tails
            self.note.sequence = max(self.note.sequence, self.log.sequence)
            self.note.count, self.log.appended = self.note.count + self.log.appended, 0
        try:
            notes.write(self._directory, self.note)
        except OSError as problem:
            explain(f"{self.session_id} is not noted: {problem}")

    async def _adopt(self) -> None:
        """Take it for claudes that live on it already, or for what was said without the fleet."""
        pid, kind = next(iter(self.claudes.items()), (0, ""))
        await self._claim(pid, kind)

    async def _claim(self, pid: int, kind: str) -> None:
        log = self.log
        await log.acquire(pid, kind, self._project)
        self.since = times.now()
        if log.before < self.note.sequence:
            # Somebody has deleted it: what is remembered of it is of another one.
            self._reset_log_position()
        # Not the lease itself: to read records takes as long as all else.
        await self._reconcile(log.before)
        if self.log is log:
            self.note.sequence = log.sequence
        # A cache, which nobody waits for.
        asyncio.get_running_loop().call_soon(self.remember)

    async def _reconcile(self, until: int) -> None:
        """Have the files here and in the log be the same, or say what is to be appended.

        Beside a live claude nothing here is changed: it appends by path, and would mix the two.
        """
        while True:
            snapshot = await self._snapshot(until)
            try:
                with self._files_are_ours() as are_ours:
                    verdict, same, end = snapshots.compare(self.transcript, snapshot.transcript)
                    has_more = snapshots.says_something(snapshot.transcript, same, end)
                    if not are_ours and has_more and verdict is not Verdict.WE_WIN:
                        break
                    if verdict is not Verdict.APART:
                        if are_ours:
                            same = self._apply(snapshot, verdict, same, end)
                        self._note_tails(snapshot, same)
                        self.note.sequence = until
                        self.note.count += snapshot.count
                        return
                    self._turn_into_fork()
            finally:
                snapshot.close()
        await self._fork()

    @contextlib.contextmanager
    def _asked_for(self) -> Iterator[None]:
        """Know that who asks has the conversation's lease on this host, and waits."""
        self._is_asked_for = True
        try:
            yield
        finally:
            self._is_asked_for = False

    @contextlib.contextmanager
    def _files_are_ours(self) -> Iterator[bool]:
        """Whether the files here are ours to change now.

        Nothing may be waited for meanwhile: a call would wait for a sync daemon that hangs.
        """
        if self.claudes:
            yield False
        elif self._is_asked_for:
            yield True
        else:
            with self._local_locks.locked(self.session_id) as are_ours:
                yield are_ours

    async def _snapshot(self, until: int) -> Snapshot:
        """The files as the log has them, read from where they are known on."""
        if self.note.stream != self._backend.stream or until < self.note.sequence:
            self._reset_log_position()
        bases = self._bases()
        while True:
            snapshot = Snapshot(bases, is_whole=not bases)
            after = self.note.sequence if bases else 0
            if not bases:
                self.note.tails, self.note.count = {}, 0
            try:
                if until > after:
                    await snapshot.read(self.log.records(after, until), after)
                return snapshot
            except NeedsFullLog:
                snapshot.close()
                bases = {}
            except BaseException:
                snapshot.close()
                raise

    def _reset_log_position(self) -> None:
        """Know nothing of the log any more: it is not the one that was read."""
        self.note.sequence, self.note.tails, self.note.count = 0, {}, 0
        self.note.stream = self._backend.stream

    def _bases(self) -> dict[str, int]:
        """How much of each file is as the log had it; empty where the transcript is not."""
        following = FollowedFiles(self.transcript, self.note.tails)
        held = {
            name: tail.size
            for name, tail in self.note.tails.items()
            if _holds(following.path(name), tail)
        }
        return held if TRANSCRIPT in held else {}

    def _apply(self, snapshot: Snapshot, verdict: Verdict, same: int, end: int) -> int:
        """Have the files here as the log has them; up to where the transcript is the same then."""
        directory = self.transcript.removesuffix(".jsonl")
        for name, file_snapshot in snapshot.sidecars().items():
            snapshots.apply_to_sidecar(directory, name, file_snapshot)
        if verdict not in (Verdict.LOG_GOES_ON, Verdict.LOG_WINS):
            return same
        explain(f"{self.transcript} gets what other hosts have said")
        snapshots.apply_to(self.transcript, snapshot.transcript, same, end)
        return end

    def _note_tails(self, snapshot: Snapshot, same: int) -> None:
        """Note how much of each file is in the log now, and where it is to be cut."""
        tails = dict(self.note.tails)
        following = FollowedFiles(self.transcript, tails)
        for name, file_snapshot in snapshot.parts.items():
            size = same if name == TRANSCRIPT else file_snapshot.end
            tail = tails[name] = SyncedOffset()
            try:
                file = os.open(following.path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                tail.cuts = file_snapshot.end > 0
                continue
            try:
                if os.fstat(file).st_size >= size:
                    tail.move_to(file, size)
            finally:
                os.close(file)
            tail.cuts = file_snapshot.end > tail.size
        self._files_followed = following

    async def _fork(self) -> None:
        """Have what is said here from now on, and all before it, be a conversation of its own."""
        if self.log.is_held:
            await self.log.release()
        if not self.claudes:
            raise Unavailable("a claude that was started without the fleet lives on it")
        self._note_fork()
        assert self.note.fork is not None
        explain(f"{self.session_id} is another host's: here it goes on as {self.note.fork}")
        self.log = Log(self._backend, self.note.fork, self._this_host)
        self._files_followed = FollowedFiles(self.transcript, self.note.tails)
        pid, kind = next(iter(self.claudes.items()), (0, ""))
        await self.log.acquire(pid, kind, self._project)

    def _finish_fork(self) -> None:
        """Give a fork a file of its own, where no claude lives on it any more."""
        if self.note.fork is None:
            return
        with self._files_are_ours() as are_ours:
            if are_ours:
                self._move_to(self.note.fork)

    def _turn_into_fork(self) -> None:
        """Make what this host has said a conversation of its own, which is yet to be appended."""
        self._note_fork()
        assert self.note.fork is not None
        self._move_to(self.note.fork)

    def _note_fork(self) -> None:
        """Note first of all under which session id what was said here is to be kept."""
        self.note.fork = new_session_id()
        self.note.behind = True
        self.note.sequence, self.note.tails = 0, {}
        self._files_followed = None
        self.remember()

    def _move_to(self, fork: str) -> None:
        note, room, agent = self.note, self.note.room, self.note.agent
        moved = forking.move(self._store, room, agent, self.transcript, fork)
        if moved is not None:
            theirs = notes.Note(fork, room, agent, moved, note.sequence, note.stream, note.tails)
            theirs.behind, theirs.is_fork, theirs.count = note.behind, True, note.count
            notes.write(self._directory, theirs)
            self._on_fork(theirs)
            explain(f"what was said here is conversation {fork} now")
        self.note = notes.Note(self.session_id, room, agent, self.transcript, moves=note.moves)
        if self.log.conversation == fork:
            self.log = Log(self._backend, self.session_id, self._this_host)
        self._files_followed = None
        self.remember()

    def _has_too_many_records(self) -> bool:
        return self.note.count + self.log.appended >= _MOST_RECORDS

    async def _compact(self) -> None:
        """Write the files anew, and drop all records before.

        Until they are dropped they count as before: what was written anew, whole or not, is but the
        same once more. One that is not whole is void by the next lease (`Snapshot`).
        """
        assert self._files_followed is not None
        anew = FollowedFiles(self.transcript, {})
        if not anew.has_all(self._files_followed.tails):
            return  # the log has what is gone here
        try:
            first = await anew.append_again(self.log)
            await self.log.purge(first)
        except BaseException:
            self.log.abandon()
            raise
        self._files_followed = anew
        self.note.count = self.log.appended = 0


def _holds(path: str, tail: SyncedOffset) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return tail.holds(file)
    finally:
        os.close(file)
