"""What a call would do, told instead of done: the wrapper's own way with acts that change nothing.

It leaves out what only a real call brings about: that a damaged store is mended, that the options
of a new claude are learned, that a busy conversation is waited for.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from shim.base import environment, messages
from shim.base.messages import Failure, explain
from shim.base.session_key import new_session_id
from shim.call import resuming, wrapper
from shim.claude import cli_spec, registry, spec_lookup, transcripts
from shim.claude.transcripts import Transcript
from shim.locks.record_lock import ACQUIRED, FILE_NAME, Holder, Lock, is_of_conversation
from shim.retention import compressed, config_directories, pins, restoring
from shim.store import markers, plugin_links, rewrite
from shim.store.store import Store, directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shim.base.session_key import SessionKey
    from shim.claude.invocation import Invocation
    from shim.locks.contention import WaitPolicy


class DryRun:
    """What a call of claude would do here and now.

    `find` says which is the real one, and ends with SystemExit where there is none.
    `steps` are the decisions on the way, each with whether it is a warning. `command` is the real
    claude and its arguments, or None where the call would end with `exit_code` instead. `exports`
    are set in claude's environment.
    """

    def __init__(self, find: Callable[[], str], args: Sequence[str], plugin: str) -> None:
        self.steps: list[tuple[str, bool]] = []
        self.command: list[str] | None = None
        self.exports: dict[str, bytes] = {}
        self.exit_code: int | None = None
        before = messages.listener
        messages.listener = lambda message, is_warning: self.steps.append((message, is_warning))
        try:
            self._rehearse(find(), list(args), plugin)
        except SystemExit as end:
            self.exit_code = int(end.code or 0)
        finally:
            messages.listener = before

    def _rehearse(self, claude: str, args: list[str], plugin: str) -> None:
        explain(f"the real claude is {claude}")
        arguments = args
        if environment.is_on("NSED_SHIM_DISABLE"):  # the launcher sees to that in a call
            explain("NSED_SHIM_DISABLE is set: claude is left alone")
        else:
            try:
                arguments, self.exports = wrapper.prepare(args, claude, plugin, _Acts)
            except Exception as problem:
                wrapper.warn_that_claude_runs_as_asked(problem)
        self.command = [claude, *arguments]


class _Acts(resuming.Effects):
    """Acts that say what they would do."""

    def open_store(self) -> Store:
        return Store(directory(make=False))

    def surface(self, claude: str) -> cli_spec.CliSpec:
        known = self.store and spec_lookup.known(claude, self.store.directory)
        if known:
            return known
        explain("this claude's options are not learned yet: the built-in table serves here")
        return cli_spec.built_in()

    def open_lease(self, start: int) -> Lock | None:
        if self.store is None:
            return None
        if self.leases is None:
            try:
                self.leases = os.open(f"{self.store.directory}/{FILE_NAME}", os.O_RDONLY)
            except FileNotFoundError:
                explain("nobody has a lease: they would be the first ones here")
                self._has_leases = False
                return None
        return _Glance(self.leases, start)

    def wait(self, wanted: Lock, is_long_running: bool, patience: WaitPolicy) -> bool:
        return _would_wait(wanted.holder(), patience)

    def outlasts(self, session_id: str, is_worth_it: WaitPolicy) -> bool:
        pid = registry.live_on(session_id) or 0
        return _would_wait(Holder(pid, is_long_running=True), is_worth_it)

    def join_fleet(
        self,
        key: SessionKey,
        asked: Invocation,
        session_id: str,
        is_explicit: bool,
        moves_head: bool,
    ) -> tuple[str, str]:
        explain("the fleet would be asked for the conversation, and for what it has more of it")
        return session_id, ACQUIRED

    def turn(self, key: SessionKey, asked: Invocation, is_explicit: bool) -> str:
        explain("a streaming or interactive run" if asked.is_long_running else "a one-shot run")
        return super().turn(key, asked, is_explicit)

    def fork(self) -> str:
        return new_session_id()

    def recall(self, key: SessionKey) -> str | None:
        if self.store is None:
            return None
        path = self.store.path
        try:
            # Of a store that is gone, or damaged: what it would be mended to.
            with _opened(path) as file:
                mappings = rewrite.load(path, file.fileno(), is_locked=False)
        except OSError as problem:
            raise Failure(f"{path}: {problem.strerror}") from problem
        entry = mappings.get(key.room, {}).get(key.agent)
        return str(entry["uuid"]) if entry else None

    def keep(
        self, session_id: str, transcript: Transcript | None, is_ours: bool
    ) -> Transcript | None:
        if transcript is not None or self.store is None:
            return transcript
        store = self.store.directory
        found = config_directories.elsewhere(store, session_id)
        if found is not None:
            explain(f"another account has it: {transcripts.config_directory_of(found.path)}")
            return found
        if not pins.is_pinned(store, session_id):
            return None
        where = restoring.restore_target(store, session_id)
        if where is None:
            explain("its transcript was deleted while it was young: it would be kept no longer")
            return None
        explain(f"it is kept, and would be put back as {where}")
        status = os.stat(pins.path(store, session_id))
        return Transcript(where, transcripts.is_here(where), status)

    def give(self, transcript: Transcript, fork: str) -> None:
        if os.path.isdir(transcripts.sidecars_of(transcript.path)):
            explain(f"what its subagents said would be copied for {fork}")

    def housekeep(self) -> None:
        return

    def make_way(self, session_id: str, paths: list[str]) -> None:
        kept = self.store and pins.path(self.store.directory, session_id)
        then = "; its copy would go on in its place" if kept and compressed.exists(kept) else ""
        for path in paths:
            explain(f"{path} holds no message; it would be moved aside{then}")

    def followed(self, key: SessionKey, stored: str) -> str:
        moved = markers.hookless_moved_to(self.store.directory, stored) if self.store else None
        if moved is not None:
            explain(f"a claude without our hooks went on from {stored}")
        return moved or stored

    def note_unheard(self, session_id: str) -> None:
        explain("no hook would tell where it moves: claude's registry is asked at the next call")

    def note_fork(self, fork: str, parent: str) -> None:
        return

    def link(self, key: SessionKey, variant: str) -> str | None:
        if self.store is None or not os.access(f"{self.plugin}/{variant}", os.R_OK):
            return None
        return plugin_links.path(self.store.directory, key, variant)

    def record(self, key: SessionKey, session_id: str) -> None:
        if self.store is not None:
            explain(f"{key} would be mapped to {session_id}")


def _opened(path: str) -> BinaryIO:
    """The store's file, or an empty one. Raises OSError, Failure where it is no file."""
    try:
        # Not to wait for who holds the other end of a FIFO.
        file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # noqa: SIM115
    except FileNotFoundError:
        return open(os.devnull, "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise Failure(f"{path} is no regular file: move it away")


class _Glance(Lock):
    """A lease that is looked at, and neither taken nor waited for."""

    __slots__ = ()

    def try_acquire(self, is_long_running: bool) -> bool:
        of = "conversation's " if is_of_conversation(self._start) else ""
        if self.is_free():
            explain(f"nobody has the {of}lease: it would be taken")
            return True
        holder = self.holder()
        if holder is not None:
            kind = "streaming or interactive" if holder.is_long_running else "one-shot"
            explain(f"claude {holder.pid}, {kind}, has the {of}lease")
        return False


def _would_wait(holder: Holder | None, is_worth_it: WaitPolicy) -> bool:
    if not is_worth_it(holder, 0.0):
        return False
    if holder is None or is_worth_it.is_for_the_end_of(holder):
        explain("it would wait for its turn; then:")
        return True
    explain("it would wait for the turn under way, and a second more; if that claude stays:")
    return False
