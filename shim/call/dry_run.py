"""What a call would do, printed instead of done: the wrapper's own steps with a dry run of effects.

It leaves out what only a real call does: repairing a damaged store, discovering the options of a
new claude, waiting for a busy conversation.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, BinaryIO

from shim.base import environment, messages
from shim.base.messages import Failure, explain
from shim.base.plain_text import printable
from shim.base.session_key import derive, new_session_id
from shim.call import effects, forking, wrapper
from shim.claude import cli_spec, spec_lookup, transcripts
from shim.claude.transcripts import Transcript
from shim.forks import catching_up
from shim.locks.record_lock import FILE_NAME, Lock, is_of_conversation
from shim.retention import compressed, config_directories, pins, restoring
from shim.store import markers, plugin_links, rewrite
from shim.store.store import Store, directory

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shim.base.session_key import SessionKey
    from shim.call.call import Call
    from shim.locks.contention import Contended, WaitPolicy


# Characters of a prompt.
_PROMPT = 60


class DryRun:
    """What a call of claude would do here and now.

    `find` returns the real one, and ends with SystemExit where there is none. `steps` are the
    decisions on the way, each with whether it is a warning. `command` is the real claude and its
    arguments, or None where the call would end with `exit_code` instead. `added` is what is set in
    claude's environment.
    """

    def __init__(self, find: Callable[[], str], args: Sequence[str], plugin: str) -> None:
        self.steps: list[tuple[str, bool]] = []
        self.command: list[str] | None = None
        self.added: dict[str, bytes] = {}
        self.exit_code: int | None = None
        before = messages.listener
        messages.listener = lambda message, is_warning: self.steps.append((message, is_warning))
        try:
            self._run(find(), list(args), plugin)
        except SystemExit as end:
            self.exit_code = int(end.code or 0)
        finally:
            messages.listener = before

    def _run(self, claude: str, args: list[str], plugin: str) -> None:
        explain(f"the real claude is {claude}")
        arguments = args
        if environment.is_on("NSED_SHIM_DISABLE"):  # in a call the launcher looks at it
            explain("NSED_SHIM_DISABLE is set: claude is left alone")
        else:
            try:
                arguments, self.added = wrapper.prepare(args, claude, plugin, _Effects)
                self.added.pop("NSED_SHIM_PID", None)  # a call has its own
            except Exception as problem:
                wrapper.warn_of_no_management(problem)
        self.command = [claude, *arguments]


class _Effects(effects.Effects):
    """The four twins together."""

    def __init__(self, plugin: str) -> None:
        self.sessions = _Sessions(plugin)
        self.locks = _Locks(self.sessions)
        self.retention = _Retention(self.sessions)
        self.forks = _Forks(self.sessions, self.locks)


class _Sessions(effects.Sessions):
    """Prints what would be recorded."""

    __slots__ = ()

    def _open(self) -> Store:
        return Store(directory(make=False))

    def cli_spec(self, claude: str) -> cli_spec.CliSpec:
        known = self.store and spec_lookup.known(claude, self.store.directory)
        if known:
            return known
        explain("the options of this claude are not discovered yet: using the built-in table")
        return cli_spec.built_in()

    def peek(self, key: SessionKey) -> str:
        try:
            return self._recall(key) or derive(key)
        except Failure:
            return derive(key)

    def record(self, key: SessionKey, session_id: str) -> None:
        if self.store is not None:
            explain(f"{key} would be mapped to {session_id}")

    def note_hookless(self, session_id: str) -> None:
        explain("no hook would report its moves: the next call would ask claude's registry")

    def plugin_link(self, key: SessionKey, variant: str) -> str | None:
        if self.store is None or not plugin_links.runs(f"{self.plugin}/{variant}"):
            return None
        return plugin_links.path(self.store.directory, key, self.plugin, variant)

    def _recall(self, key: SessionKey) -> str | None:
        if self.store is None:
            return None
        path = self.store.path
        try:
            # Of a store that is missing or damaged: what it would be restored to.
            with _opened(path) as file:
                mappings = rewrite.load(path, file.fileno(), is_locked=False)
        except OSError as problem:
            raise Failure(f"{path}: {problem.strerror}") from problem
        entry = mappings.get(key.room, {}).get(key.agent)
        return str(entry["uuid"]) if entry else None

    def _followed(self, key: SessionKey, stored: str) -> str:
        moved = markers.hookless_moved_to(self.store.directory, stored) if self.store else None
        if moved is not None:
            explain(f"a claude without our hooks moved on from {stored}")
        return moved or stored


class _Locks(effects.Locks):
    """Prints who has which lock, and acquires none."""

    __slots__ = ()

    def acquire_key(self, call: Call) -> None:
        is_long_running = call.invocation.is_long_running
        explain("a streaming or interactive run" if is_long_running else "a one-shot run")
        super().acquire_key(call)

    def acquire_in_fleet(self, call: Call, retention: effects.Retention) -> None:
        explain("the fleet would be asked for the conversation, and for turns that this host lacks")

    def acquire_fork(self, session_id: str) -> None:
        return

    def release_all(self) -> None:
        return

    def wait_for(self, contended: Contended, policy: WaitPolicy) -> bool:
        holder = contended.holder()
        if not policy.allows(holder, 0.0):
            return False
        if holder is None or policy.is_for_the_end_of(holder):
            explain("it would wait until that claude ends; then:")
            return True
        explain("it would wait for the end of the turn, and a second more; if that claude stays:")
        return False

    def _open(self, offset: int) -> Lock | None:
        store = self._sessions.store
        if store is None or not self._can_lock:
            return None
        if self.file is None:
            try:
                self.file = os.open(f"{store.directory}/{FILE_NAME}", os.O_RDONLY)
            except FileNotFoundError:
                explain("no locks are held: this is the first call here")
                self._can_lock = False
                return None
        return _WatchedLock(self.file, offset)


class _WatchedLock(Lock):
    """A lock that is looked at, and neither acquired nor waited for."""

    __slots__ = ()

    def try_acquire(self, is_long_running: bool) -> bool:
        which = "conversation" if is_of_conversation(self._offset) else "session key"
        if self.is_free():
            explain(f"the {which} is not locked: its lock would be acquired")
            return True
        holder = self.holder()
        if holder is not None:
            kind = "streaming or interactive" if holder.is_long_running else "one-shot"
            explain(f"the {which} is locked by claude {holder.pid}, {kind}")
        return False


class _Forks(effects.Forks):
    """Prints what would be appended, and changes no conversation."""

    __slots__ = ()

    def take_over(self) -> None:
        return

    def catch_up(self, call: Call) -> None:
        if self._has_any(call.session_id):
            self._explain(call.session_id)

    def prepare_explicit(self, call: Call) -> None:
        return

    def move_head(self, head: str, new: str, is_copy: bool = False) -> None:
        return

    def enter(self, call: Call) -> None:
        found = forking.free_fork(self._store, call, self._locks)
        if found is not None:
            call.session_id, own = found
            explain(f"the fork {call.session_id} is free: it would be resumed")
            self._explain(call.session_id)
            call.transcript = forking.transcript(own)
            return
        head, call.session_id = call.session_id, new_session_id()
        path = forking.source(self._store, head, call.transcript)
        if path is None:
            explain("no turn of the conversation has ended: the fork would begin empty")
            call.transcript = None
            return
        explain(f"a fork would be written beside {path}")
        copy = f"{os.path.dirname(path)}/{call.session_id}{transcripts.ENDING}"
        call.transcript = Transcript(copy, transcripts.is_here(copy), os.stat(path))

    def _explain(self, session_id: str) -> None:
        for turn in catching_up.lacking(self._store, session_id):
            said = printable(" ".join(turn.prompt.split()))
            explain(f"a turn that ended at {turn.ended} would be appended: {said[:_PROMPT]}")


class _Retention(effects.Retention):
    """Prints what would be moved, restored or copied."""

    __slots__ = ()

    def set_aside_unusable(self, call: Call) -> None:
        store = self.store_directory
        pin = store and pins.path(store, call.session_id)
        is_copy = pin and compressed.exists(pin)
        then = "; its compressed copy would take its place" if is_copy else ""
        for path in call.unusable:
            explain(f"{path} holds no message; it would be moved aside{then}")

    def pin(self, call: Call) -> None:
        store, session_id = self.store_directory, call.session_id
        if call.transcript is not None or not store:
            return
        found = config_directories.elsewhere(store, session_id)
        if found is not None:
            explain(
                f"it is in another config directory: {transcripts.config_directory_of(found.path)}"
            )
            call.transcript = found
        elif pins.is_pinned(store, session_id):
            self._restore(call)

    def housekeep(self) -> None:
        return

    def _restore(self, call: Call) -> None:
        where = restoring.restore_target(self.store_directory, call.session_id)
        if where is None:
            explain("its transcript was deleted while it was young: its pin would be removed")
            return
        explain(f"it is retained, and would be restored as {where}")
        status = os.stat(pins.path(self.store_directory, call.session_id))
        call.transcript = Transcript(where, transcripts.is_here(where), status)


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
