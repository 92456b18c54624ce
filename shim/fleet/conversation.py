"""A conversation of this host in the fleet: taken, brought, followed, forked where it was taken.

`lock` is for whoever does any of that. A method that raises Away leaves all as it is, to be done
again when the engine is back.
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
from shim.fleet.backend import Refused, Unavailable
from shim.fleet.followed_file import Following
from shim.fleet.log import PATIENCE, Log, Taken
from shim.fleet.records import TRANSCRIPT
from shim.fleet.snapshots import Image, ReachesBack, Verdict
from shim.fleet.tails import Rewritten, Tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shim.fleet.backend import Backend
    from shim.fleet.host import Host
    from shim.fleet.local_locks import Leases

_MOST_RECORDS = 5000
# Seconds between two tries of what is not possible yet: each time twice as many.
_RESTS, _RESTS_AT_MOST = 1.0, 60.0


class Conversation:
    """A conversation by the session id that this host's file is named by.

    `claudes` are those that live on it here, each with how it runs. What they say goes into the log
    of that session id, or, where another host had it meanwhile, into that of a fork. `on_fork` is
    called with the note of a fork that has a file of its own by now.
    """

    def __init__(
        self,
        backend: Backend,
        us: Host,
        store: str,
        leases: Leases,
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
        self._engine = backend
        self._us = us
        self._store = store
        self._leases = leases
        self._on_fork = on_fork
        self._directory = notes.directory(store)
        self.log = Log(backend, note.fork or note.session_id, us)
        self._following: Following | None = None
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
    def is_in_the_log(self) -> bool:
        """Whether its log has something of the transcript, for other hosts to go on with."""
        tail = self.note.tails.get(TRANSCRIPT)
        return self.log.is_held and tail is not None and tail.size > 0

    def is_due(self) -> bool:
        """Whether there may be something to do for it now, at the price of a look at its files."""
        if self.lock.locked() or time.monotonic() < self._rests_until:
            return False
        if self._following is None or not self.claudes or notes.is_due(self.note):
            return True
        return self._following.has_news()

    def rest(self) -> None:
        """Do nothing for it by itself for a while: what was to be done is not possible yet."""
        self._rests_until = time.monotonic() + self._rests_for
        self._rests_for = min(2 * self._rests_for, _RESTS_AT_MOST)

    def wake(self) -> None:
        """Know that all was done that was to be done."""
        self._rests_for = _RESTS

    def behind(self) -> int:
        """How many bytes are not in the log yet."""
        return (self._following or Following(self.transcript, self.note.tails)).behind()

    async def take(self, pid: int, kind: str) -> None:
        """Take it for a claude that starts now, with all turns of other hosts.

        Who asks for it has its lease on this host. Raises Taken, Away, pulling.Damaged, OSError.
        """
        if self.log.is_held and self.claudes:
            return  # another one here has it already
        with self._asked_for():
            self._split()
            await self._claim(pid, kind)

    async def look(self, until: int) -> bool:
        """Bring what another host that has it has said; whether its turn is under way.

        Raises Away, pulling.Damaged, OSError.
        """
        with self._asked_for():
            self._split()
            await self._agree(until)
            self.remember()
        return turns.has_ended(self.transcript) is False

    async def keep_up(self, patience: float = PATIENCE) -> None:
        """Append what is new here. Raises Away."""
        deadline = asyncio.get_running_loop().time() + patience
        while True:
            try:
                if not self.log.is_held or self._following is None:
                    await self._adopt()
                assert self._following is not None
                await self._following.append(self.log, deadline)
            except Refused:
                continue  # look who has it
            except Taken as taken:
                if not self.claudes:
                    await self._agree(taken.by.sequence)
                    return
                await self._fork()
                continue
            except Rewritten:
                self._following = None
                await self._agree(self.log.sequence)
                continue
            except FileNotFoundError as problem:
                explain(f"{problem.filename} is gone")
            break
        if self.behind() == 0:
            self.note.behind = False
        if self._following is not None:
            self.note.tails = self._following.tails

    async def finish(self) -> None:
        """Append what is left, and give the conversation back. Raises Away."""
        await self.keep_up()
        if not self.log.is_held:
            return
        try:
            if self._has_too_many_records():
                await self._compact()
            await self.log.release()
        except Refused:
            explain(f"{self.session_id} is another host's already")
        self.note.behind = False
        self.remember()
        self._split()

    def remember(self) -> None:
        """Keep the note."""
        self.note.transcript = self.transcript
        if self._following is not None:
            self.note.tails = self._following.tails
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
        await log.take(pid, kind, self._project)
        self.since = times.now()
        if log.before < self.note.sequence:
            # Somebody has deleted it: what is remembered of it is of another one.
            self._forget_the_log()
        # Not the claim itself: to read records takes as long as all else.
        await self._agree(log.before)
        if self.log is log:
            self.note.sequence = log.sequence
        # A cache, which nobody waits for.
        asyncio.get_running_loop().call_soon(self.remember)

    async def _agree(self, until: int) -> None:
        """Have the files here and in the log be the same, or say what is to be appended.

        Beside a live claude nothing here is changed: it appends by path, and would mix the two.
        """
        while True:
            image = await self._image(until)
            try:
                with self._files() as are_ours:
                    verdict, same, end = snapshots.compare(self.transcript, image.transcript)
                    has_more = snapshots.says_something(image.transcript, same, end)
                    if not are_ours and has_more and verdict is not Verdict.WE_WIN:
                        break
                    if verdict is not Verdict.APART:
                        if are_ours:
                            same = self._bring(image, verdict, same, end)
                        self._note_tails(image, same)
                        self.note.sequence = until
                        self.note.count += image.count
                        return
                    self._leave_to_the_log()
            finally:
                image.close()
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
    def _files(self) -> Iterator[bool]:
        """Whether the files here are ours to change now.

        Nothing may be waited for meanwhile: a call would wait for a courier that hangs.
        """
        if self.claudes:
            yield False
        elif self._is_asked_for:
            yield True
        else:
            with self._leases.of(self.session_id) as are_ours:
                yield are_ours

    async def _image(self, until: int) -> Image:
        """The files as the log has them, read from where they are known on."""
        if self.note.stream != self._engine.stream or until < self.note.sequence:
            self._forget_the_log()
        bases = self._bases()
        while True:
            image = Image(bases, is_whole=not bases)
            after = self.note.sequence if bases else 0
            if not bases:
                self.note.tails, self.note.count = {}, 0
            try:
                if until > after:
                    await image.read(self.log.records(after, until), after)
                return image
            except ReachesBack:
                image.close()
                bases = {}
            except BaseException:
                image.close()
                raise

    def _forget_the_log(self) -> None:
        """Know nothing of the log any more: it is not the one that was read."""
        self.note.sequence, self.note.tails, self.note.count = 0, {}, 0
        self.note.stream = self._engine.stream

    def _bases(self) -> dict[str, int]:
        """How much of each file is as the log had it; empty where the transcript is not."""
        following = Following(self.transcript, self.note.tails)
        held = {
            name: tail.size
            for name, tail in self.note.tails.items()
            if _holds(following.path(name), tail)
        }
        return held if TRANSCRIPT in held else {}

    def _bring(self, image: Image, verdict: Verdict, same: int, end: int) -> int:
        """Have the files here as the log has them; up to where the transcript is the same then."""
        directory = self.transcript.removesuffix(".jsonl")
        for name, part in image.beside().items():
            snapshots.bring_beside(directory, name, part)
        if verdict not in (Verdict.LOG_GOES_ON, Verdict.LOG_WINS):
            return same
        explain(f"{self.transcript} gets what other hosts have said")
        snapshots.bring(self.transcript, image.transcript, same, end)
        return end

    def _note_tails(self, image: Image, same: int) -> None:
        """Note how much of each file is in the log now, and where it is to be cut."""
        tails = dict(self.note.tails)
        following = Following(self.transcript, tails)
        for name, part in image.parts.items():
            size = same if name == TRANSCRIPT else part.end
            tail = tails[name] = Tail()
            try:
                file = os.open(following.path(name), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                tail.cuts = part.end > 0
                continue
            try:
                if os.fstat(file).st_size >= size:
                    tail.move_to(file, size)
            finally:
                os.close(file)
            tail.cuts = part.end > tail.size
        self._following = following

    async def _fork(self) -> None:
        """Have what is said here from now on, and all before it, be a conversation of its own."""
        if self.log.is_held:
            await self.log.release()
        if not self.claudes:
            raise Unavailable("a claude that was started without the fleet lives on it")
        self._begin_fork()
        assert self.note.fork is not None
        explain(f"{self.session_id} is another host's: here it goes on as {self.note.fork}")
        self.log = Log(self._engine, self.note.fork, self._us)
        self._following = Following(self.transcript, self.note.tails)
        pid, kind = next(iter(self.claudes.items()), (0, ""))
        await self.log.take(pid, kind, self._project)

    def _split(self) -> None:
        """Give a fork a file of its own, where no claude lives on it any more."""
        if self.note.fork is None:
            return
        with self._files() as are_ours:
            if are_ours:
                self._move_to(self.note.fork)

    def _leave_to_the_log(self) -> None:
        """Make what this host has said a conversation of its own, which is yet to be appended."""
        self._begin_fork()
        assert self.note.fork is not None
        self._move_to(self.note.fork)

    def _begin_fork(self) -> None:
        """Note first of all under which session id what was said here is to be kept."""
        self.note.fork = new_session_id()
        self.note.behind = True
        self.note.sequence, self.note.tails = 0, {}
        self._following = None
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
            self.log = Log(self._engine, self.session_id, self._us)
        self._following = None
        self.remember()

    def _has_too_many_records(self) -> bool:
        return self.note.count + self.log.appended >= _MOST_RECORDS

    async def _compact(self) -> None:
        """Write the files anew, and drop all records before.

        Until they are dropped they count as before: what was written anew, whole or not, is but the
        same once more. One that is not whole is void by the next claim (`Image`).
        """
        assert self._following is not None
        anew = Following(self.transcript, {})
        if not anew.has_all(self._following.tails):
            return  # the log has what is gone here
        try:
            first = await anew.append_again(self.log)
            await self.log.purge(first)
        except BaseException:
            self.log.let_go()
            raise
        self._following = anew
        self.note.count = self.log.appended = 0


def _holds(path: str, tail: Tail) -> bool:
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return tail.holds(file)
    finally:
        os.close(file)
