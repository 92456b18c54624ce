"""A conversation of this host in the fleet: its lease, its files, and the fork that it may become.

What it is here is its state (`notes.State`), which only `_become` changes. `lock` is for whoever
does anything with it. A method that raises Unavailable leaves all as it is, to be tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shim.base import times
from shim.base.messages import explain
from shim.base.session_key import new_session_id
from shim.claude import transcripts, turns
from shim.fleet import claude_watch, forking, notes, snapshots
from shim.fleet.backend import Conflict, Unavailable
from shim.fleet.followed_files import FollowedFiles
from shim.fleet.log import APPEND_TIMEOUT, Held, Log
from shim.fleet.notes import ForkState, State
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
_BACK_OFF, _LONGEST_BACK_OFF = 1.0, 60.0


@dataclass(frozen=True)
class Surroundings:
    """What all conversations of a daemon share.

    `on_fork` is called with the note of a fork once the fork has a file of its own.
    """

    backend: Backend
    this_host: Host
    store: str
    local_locks: LocalLocks
    on_fork: Callable[[notes.Note], None]


class FleetConversation:
    """A conversation, by the session id that names this host's file.

    `claudes` are those that live on it here, each with how it runs. Their turns are appended to the
    log of that session id; while the conversation is FENCED, to the log of the fork.
    """

    def __init__(self, surroundings: Surroundings, note: notes.Note) -> None:
        self.note = note
        self.lock = asyncio.Lock()
        self.claudes: dict[int, str] = {}
        # Whether its claude was warned that it runs alone, and why a later turn was late unsaid.
        self.is_alone, self.was_late = False, ""
        # The forks of it that were fetched for a call, and up to which sequence of their logs.
        self.fetched_forks: dict[str, int] = {}
        # How many requests are being answered for it.
        self.pending_requests = 0
        self.transcript = note.transcript
        self.since = times.now()
        self._shared = surroundings
        self._backend = surroundings.backend
        self._directory = notes.directory(surroundings.store)
        # A lease that a daemon before this one held is acquired anew: its last append is unknown.
        note.owes_data = note.owes_data or note.state is State.OURS
        note.state = State.FENCED if note.fork else State.FREE
        self.log = self._log(note.fork or note.session_id)
        self._files: FollowedFiles | None = None
        self._retry_at, self._back_off = 0.0, _BACK_OFF
        self._caller_holds_local_lock = False

    @property
    def session_id(self) -> str:
        """The session id that names this host's file."""
        return self.note.session_id

    @property
    def state(self) -> State:
        """What the conversation is here."""
        return self.note.state

    @property
    def has_synced(self) -> bool:
        """Whether its log has something of the transcript, for other hosts to resume."""
        offset = self.note.synced.get(TRANSCRIPT)
        return self.log.is_held and offset is not None and offset.size > 0

    def is_due(self) -> bool:
        """Whether there may be something to do for it, at the price of a look at its files."""
        if self.lock.locked() or time.monotonic() < self._retry_at:
            return False
        if self._files is None or not self.claudes or self.note.owes:
            return True
        return self._files.has_news()

    def back_off(self) -> None:
        """Do nothing for it for a while: what is to be done is not possible yet."""
        self._retry_at = time.monotonic() + self._back_off
        self._back_off = min(2 * self._back_off, _LONGEST_BACK_OFF)

    def reset_back_off(self) -> None:
        """Note that all was done that was to be done."""
        self._back_off = _BACK_OFF

    def lag(self) -> int:
        """How many bytes of the transcript the log lacks."""
        return (self._files or self._new_files()).lag()

    def follow_to(self, transcript: str) -> None:
        """Take the transcript where claude writes it, which its hook says.

        A new conversation can be in another file than was expected: claude's name for a directory
        of over 200 characters ends in a hash (help facts, "Which conversation").
        """
        self.transcript = os.path.realpath(transcript)
        if self._files is not None:
            self._files.transcript = self.transcript

    async def acquire(self, pid: int, kind: str) -> None:
        """Acquire it for a claude that starts now, and fetch all turns of other hosts.

        The caller holds its lock on this host. Raises Held, Unavailable, DamagedLog, OSError.
        """
        if self.log.is_held and self.claudes:
            return  # for another claude of this host
        with self._local_lock_is_callers():
            self._finish_fork()
            await self._acquire_lease(pid, kind)

    async def peek(self, until: int) -> bool:
        """Fetch what the other host that holds it has appended; whether its turn is under way.

        The caller holds its lock on this host. Raises Unavailable, DamagedLog, OSError.
        """
        with self._local_lock_is_callers():
            self._finish_fork()
            await self._reconcile(until)
            self.remember()
        return turns.has_ended(self.transcript) is False

    async def fetch(self) -> int:
        """Make the files here as the log has them, unless a claude lives on them.

        Returns the sequence of the log's last record, or 0 of a log that is gone. Raises
        Unavailable, DamagedLog, Hostile, OSError.
        """
        if self.claudes or self.log.is_held:
            return self.log.sequence
        last = await self.log.last()
        if last is None:
            return 0
        is_known = self.note.stream == self._backend.stream and self.note.sequence >= last.sequence
        if not is_known or not os.path.exists(self.transcript):
            await self._reconcile(last.sequence)
            self.note.owes_data = self.note.owes_data or self.lag() > 0
            self.remember()
        return last.sequence

    async def sync(self, timeout: float = APPEND_TIMEOUT) -> None:
        """Append what is new here. Raises Unavailable, DamagedLog, Hostile, OSError."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            try:
                if not self.log.is_held or self._files is None:
                    await self._adopt()
                assert self._files is not None
                await self._files.append(self.log, deadline)
            except Conflict:
                if self.state is State.OURS:
                    self._become(State.FREE)
                continue  # find out who holds it
            except Held as held:
                if not self.claudes:
                    await self._reconcile(held.by.sequence)
                    return
                await self._fence()
                continue
            except Rewritten:
                self._files = None
                await self._reconcile(self.log.sequence)
                continue
            except FileNotFoundError as problem:
                explain(f"{problem.filename} is gone")
            break
        if self.lag() == 0:
            self.note.owes_data = False
            is_stale = self.note.fork_state in (ForkState.LISTED, ForkState.OVER)
            if self.note.fork_state is ForkState.NOTED or (
                is_stale and self.log.data_sequence > self.note.listed
            ):
                self.note.fork_state = ForkState.STORED
        if self._files is not None:
            self.note.synced = self._files.synced

    async def finish(self) -> None:
        """Append what is left, and release the lease. Raises Unavailable."""
        await self.sync()
        if not self.log.is_held:
            return
        try:
            if self._has_too_many_records():
                await self._compact()
            await self.log.release()
        except Conflict:
            explain(f"{self.session_id} is another host's already")
        except Unavailable:
            self.note.owes_data = True  # whether the release was stored is unknown
            raise
        finally:
            if self.state is State.OURS:
                self._become(State.FREE)
        self.note.owes_data = False
        self.remember()
        self._finish_fork()

    def remember(self) -> None:
        """Write the note."""
        note = self.note
        note.transcript = self.transcript
        note.claudes = {
            str(pid): (kind, claude_watch.start_time(pid)) for pid, kind in self.claudes.items()
        }
        if self._files is not None:
            note.synced = self._files.synced
            note.sequence = max(note.sequence, self.log.sequence)
            note.count, self.log.appended = note.count + self.log.appended, 0
        try:
            notes.write(self._directory, note)
        except OSError as problem:
            explain(f"{self.session_id} is not noted: {problem}")

    def _become(self, state: State) -> None:
        """The one place where the state changes."""
        if state is not self.note.state:
            assert state in notes.NEXT_STATES[self.note.state], (self.note.state, state)
            self.note.state = state

    def _log(self, session_id: str) -> Log:
        return Log(self._backend, session_id, self._shared.this_host)

    def _new_files(self) -> FollowedFiles:
        return FollowedFiles(self.transcript, self.note.synced)

    @property
    def _project(self) -> str:
        """Claude's name for the working directory here."""
        return os.path.basename(os.path.dirname(self.transcript))

    async def _adopt(self) -> None:
        """Acquire it for claudes that live on it already, or for turns without the fleet."""
        pid, kind = next(iter(self.claudes.items()), (0, ""))
        await self._acquire_lease(pid, kind)

    async def _acquire_lease(self, pid: int, kind: str) -> None:
        log = self.log
        await log.acquire(pid, kind, self._project)
        if self.state is State.FREE:
            self._become(State.OURS)
        self.since = times.now()
        if log.previous < self.note.sequence:
            # Somebody has deleted the log: what is noted is about another one.
            self._reset_log_position()
        # Without the lease itself: reading records takes longer than anything else here.
        await self._reconcile(log.previous)
        if self.log is log:
            self.note.sequence = log.sequence
        # Later: nobody waits for the note.
        asyncio.get_running_loop().call_soon(self.remember)

    async def _reconcile(self, until: int) -> None:
        """Make the files here and in the log the same, or find out what is to be appended.

        Beside a live claude nothing here is changed: it appends by path, and would mix the two.
        """
        while True:
            snapshot = await self._snapshot(until)
            try:
                with self._files_are_ours() as are_ours:
                    verdict, same, end = snapshots.compare(
                        self.transcript, snapshot.transcript, snapshot.originals()
                    )
                    has_more = snapshots.has_messages(snapshot.transcript, same, end)
                    if not are_ours and has_more and verdict is not Verdict.WE_WIN:
                        break
                    if verdict is not Verdict.DIVERGED:
                        if are_ours:
                            same = self._apply(snapshot, verdict, same, end)
                        self._note_synced(snapshot, same)
                        self.note.sequence = until
                        self.note.count += snapshot.count
                        return
                    self._note_fork()
                    self._move_to_fork()
            finally:
                snapshot.close()
        await self._fence()

    @contextlib.contextmanager
    def _local_lock_is_callers(self) -> Iterator[None]:
        """Inside the block, whoever asks holds the lock of the conversation on this host."""
        self._caller_holds_local_lock = True
        try:
            yield
        finally:
            self._caller_holds_local_lock = False

    @contextlib.contextmanager
    def _files_are_ours(self) -> Iterator[bool]:
        """Whether the files here may be changed inside the block.

        The block must not wait for anything: a call would wait for a daemon that hangs.
        """
        if self.claudes:
            yield False
        elif self._caller_holds_local_lock:
            yield True
        else:
            with self._shared.local_locks.locked(self.session_id) as are_ours:
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
                self.note.synced, self.note.count = {}, 0
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
        """Note that nothing of the log is known: it is not the one that was read."""
        self.note.sequence, self.note.synced, self.note.count = 0, {}, 0
        self.note.stream = self._backend.stream

    def _bases(self) -> dict[str, int]:
        """How much of each file is as the log had it; empty where the transcript is not."""
        files = self._new_files()
        same = {
            name: offset.size
            for name, offset in self.note.synced.items()
            if _matches(files.path(name), offset)
        }
        return same if TRANSCRIPT in same else {}

    def _apply(self, snapshot: Snapshot, verdict: Verdict, same: int, end: int) -> int:
        """Apply the log's content to the files here; returns up to where they are the same then."""
        directory = self.transcript.removesuffix(transcripts.ENDING)
        for name, file in snapshot.sidecars().items():
            snapshots.apply_to_sidecar(directory, name, file)
        if verdict not in (Verdict.LOG_IS_AHEAD, Verdict.LOG_WINS):
            return same
        explain(f"{self.transcript} gets the turns of other hosts")
        snapshots.apply_to(self.transcript, snapshot.transcript, same, end)
        return end

    def _note_synced(self, snapshot: Snapshot, same: int) -> None:
        """Note how much of each file the log has, and whether it has more that is to go."""
        files = self._files = FollowedFiles(self.transcript, dict(self.note.synced))
        for name, snapshot_file in snapshot.files.items():
            size = same if name == TRANSCRIPT else snapshot_file.end
            offset = files.synced[name] = SyncedOffset()
            try:
                file = os.open(files.path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                offset.cuts = snapshot_file.end > 0
                continue
            try:
                if os.fstat(file).st_size >= size:
                    offset.move_to(file, size)
            finally:
                os.close(file)
            offset.cuts = snapshot_file.end > offset.size

    async def _fence(self) -> None:
        """Have the turns of a live claude, and all before them, go into a fork from now on."""
        if self.log.is_held:
            await self.log.release()
        if not self.claudes:
            raise Unavailable("a claude that runs without the fleet has this conversation")
        fork = self._note_fork()
        self._become(State.FENCED)
        self.remember()
        explain(f"{self.session_id} is another host's: turns here go into fork {fork}")
        self.log = self._log(fork)
        self._files = self._new_files()
        pid, kind = next(iter(self.claudes.items()), (0, ""))
        await self.log.acquire(pid, kind, self._project)

    def _finish_fork(self) -> None:
        """Give a fork a file of its own, once no claude lives on it any more."""
        if self.note.fork is None:
            return
        with self._files_are_ours() as are_ours:
            if are_ours:
                self._move_to_fork()

    def _note_fork(self) -> str:
        """Fix the session id of the fork before anything else is done about it."""
        fork = self.note.fork = new_session_id()
        self.note.owes_data = True
        self.note.sequence, self.note.synced, self.note.listed = 0, {}, 0
        self._files = None
        self.remember()
        return fork

    def _move_to_fork(self) -> None:
        """Rename the files here to the fork's session id: the log's version gets a new file."""
        note, shared = self.note, self._shared
        fork = note.fork
        assert fork is not None
        moved = forking.move(shared.store, note.room, note.agent, self.transcript, fork)
        if moved is not None:
            theirs = notes.Note(
                fork, note.room, note.agent, moved, note.sequence, note.stream, note.synced
            )
            theirs.fork_state, theirs.fork_of = ForkState.NOTED, note.fork_of or self.session_id
            theirs.owes_data, theirs.count = note.owes_data, note.count
            theirs.listed = note.listed
            forking.mark(shared.store, theirs, moved)
            notes.write(self._directory, theirs)
            shared.on_fork(theirs)
            explain(f"the turns of this host are conversation {fork} now")
        state = note.state
        self.note = notes.Note(self.session_id, note.room, note.agent, self.transcript)
        self.note.owes_move, self.note.owes_head = note.owes_move, note.owes_head
        self.note.fork_of = note.fork_of
        self.note.state = state
        if self.log.conversation == fork:
            self.log = self._log(self.session_id)
            self._become(State.FREE)
        self._files = None
        self.remember()

    def _has_too_many_records(self) -> bool:
        return self.note.count + self.log.appended >= _MOST_RECORDS

    async def _compact(self) -> None:
        """Append the files anew, and delete all records before.

        Until those are deleted they count: the new records only repeat them. An incomplete repeat
        has no effect, as the next lease voids it (`Snapshot`).
        """
        assert self._files is not None
        anew = FollowedFiles(self.transcript, {})
        if not anew.has_all(self._files.synced):
            return  # the log has something that is gone here
        try:
            first = await anew.append_again(self.log)
            await self.log.purge(first)
        except BaseException:
            self.log.abandon()
            self._become(State.FREE)
            raise
        self._files = anew
        self.note.count = self.log.appended = 0


def _matches(path: str, offset: SyncedOffset) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return offset.matches(file)
    finally:
        os.close(file)
