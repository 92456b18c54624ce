"""Checks of the locks that keep live claudes apart, and of who holds them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import time
from typing import TYPE_CHECKING

import psutil

from shim.base.plain_text import shell_word
from shim.base.session_key import DEFAULT_AGENT
from shim.checks.finding import Finding, counted, ok, problem, warning
from shim.claude import registry
from shim.locks import live_claudes, record_lock
from shim.store import lock_holders, plugin_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from shim.base.session_key import SessionKey
    from shim.checks.setup import Setup
    from shim.locks.live_claudes import HeldLocks

# Seconds to wait for a lock, and between two tries.
_PATIENCE = 1.0
_NAP = 0.01
# As many open files as a call needs with what its caller may have open.
_DESCRIPTORS = 32


def locks(setup: Setup) -> Iterator[Finding]:
    """Locks exclude other processes, tested with a second process."""
    if setup.store is None:
        return
    hindrance = _hindrance(setup.store / record_lock.FILE_NAME)
    if hindrance is not None:
        yield hindrance
    trials: list[tuple[str, Path, Callable[[int], None]]] = [
        ("flock", setup.store / "sessions.json", _flock),
        ("fcntl", setup.store / record_lock.FILE_NAME, _lockf),
    ]
    tried = []
    for name, path, lock in trials:
        if not path.is_file() or not os.access(path, os.R_OK | os.W_OK):
            continue
        try:
            keeps_out = _keeps_out(path, lock)
        except BlockingIOError:
            who = lock_holders.named_holders(str(path))
            yield warning(f"{path} is locked by another process{who}", "see what it does")
            continue
        except OSError as refusal:
            reason = refusal.strerror
        else:
            reason = "it excludes no other process"
            if keeps_out:
                tried.append(name)
                continue
        yield problem(
            f"{name} does not work on {path}: {reason}",
            "set NSED_SESSION_DIR to a directory on a filesystem with locks",
        )
    if tried:
        yield ok(f"{' and '.join(tried)} exclude other processes")


def _hindrance(path: Path) -> Finding | None:
    """Why no lock can be acquired, before one is tried."""
    both = "concurrent calls may lose turns"
    if os.path.lexists(path) and not path.is_file():
        return problem(f"{path} is no regular file: {both}", "move it away")
    where = path if path.is_file() else path.parent
    if where.exists() and not os.access(where, os.R_OK | os.W_OK):
        return problem(
            f"{where} cannot be written: {both}",
            f"sudo chown {os.geteuid()} {shell_word(str(where))}, or set NSED_SESSION_DIR to a"
            " directory of your own",
        )
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most < _DESCRIPTORS:
        return problem(
            f"only {most} files may be open at once: {both}",
            "raise the limit where claude is started: ulimit -n 1024",
        )
    return None


def _flock(file: int) -> None:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lockf(file: int) -> None:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, record_lock.UNUSED_BYTE)


def _keeps_out(path: Path, lock: Callable[[int], None]) -> bool:
    """Whether another process is refused a lock that this one holds. Raises OSError."""
    file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    try:
        _lock_in_time(file, lock)
        child = os.fork()
        if not child:
            os._exit(_is_refused(path, lock))
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1
    finally:
        os.close(file)


def _lock_in_time(file: int, lock: Callable[[int], None]) -> None:
    """Acquire a lock that others hold for moments. Raises BlockingIOError after the time-out."""
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return lock(file)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_NAP)


def _is_refused(path: Path, lock: Callable[[int], None]) -> bool:
    try:
        lock(os.open(path, os.O_RDWR | os.O_NONBLOCK))
    except (BlockingIOError, PermissionError):
        return True
    except OSError:
        return False
    return False


def claudes(setup: Setup) -> Iterator[Finding]:
    """Only claudes hold locks, and each claude on a mapped conversation holds its lock."""
    if setup.store is None or not (setup.store / record_lock.FILE_NAME).is_file():
        return
    held = live_claudes.held_locks(str(setup.store))
    pids = [holder.pid for _, holder in held.except_keys(()) if holder.pid > 0]
    odd = {pid: name for pid in pids if (name := _foreign_name(pid))}
    for pid, name in odd.items():
        yield problem(f"{name} (pid {pid}) holds a lock, and is no claude", f"kill {pid}")
    deaf = list(_without_their_hooks(setup.store, pids))
    for key, pid in deaf:
        yield problem(
            f"the hooks of claude {pid}, room {key.room!r}, agent {key.agent!r}, are gone with the"
            " claude-shim that started it: a /clear there is not followed",
            f"end it, and start it again: {_call(key.room, key.agent)}",
        )
    unmanaged = list(_unmanaged(setup, held))
    for room, agent, pid in unmanaged:
        yield warning(
            f"claude {pid} is on the conversation of room {room!r}, agent {agent!r} without its"
            " lock: calls fork",
            f"end it, and start it with that room and agent: {_call(room, agent)}",
        )
    if not odd and not deaf and not unmanaged:
        holding = "holds a lock" if len(pids) == 1 else "hold locks"
        yield ok(f"{counted(len(pids), 'claude')} {holding}, none is unmanaged")


def _without_their_hooks(store: Path, pids: Iterable[int]) -> Iterator[tuple[SessionKey, int]]:
    """Each claude with a link to a plugin that is gone, and the session key of the link."""
    folder = f"{store.absolute()}/{plugin_links.FOLDER}/"
    for pid in pids:
        with contextlib.suppress(psutil.Error, OSError, ValueError):
            for word in psutil.Process(pid).cmdline():
                if word.startswith(folder) and not plugin_links.runs(word):
                    yield plugin_links.owner(word)[1], pid
                    break


def _call(room: str, agent: str) -> str:
    """The command that starts claude for a room and agent."""
    named = {"NSED_ROOM_ID": room, "NSED_AGENT_NAME": agent}
    if not room:
        del named["NSED_ROOM_ID"]
    elif agent == DEFAULT_AGENT:
        del named["NSED_AGENT_NAME"]
    return " ".join([*(f"{name}={shell_word(value)}" for name, value in named.items()), "claude"])


def _foreign_name(pid: int) -> str:
    """The name of a process that is no claude; empty for one that is, or that is gone."""
    try:
        process = psutil.Process(pid)
        # A claude is first the launcher, and may be a script.
        words = [process.name(), *process.cmdline()[:3]]
        is_claude = any(os.path.basename(word) == "claude" for word in words)
        return "" if is_claude or registry.conversation_of(pid) else process.name()
    except psutil.Error:
        return ""


def _unmanaged(setup: Setup, held: HeldLocks) -> Iterator[tuple[str, str, int]]:
    running = registry.conversations()
    if not running:
        return
    conversations = set(running.values())
    for room, agent, session_id, _ in setup.contents.entries():
        if session_id not in conversations:
            continue
        for pid in live_claudes.unmanaged(
            held.for_key_and_conversation(room, agent, session_id), session_id, running
        ):
            key = live_claudes.key_of(pid)
            # A fork of ours is not unmanaged.
            if key is None or (key.room, key.agent) != (room, agent):
                yield room, agent, pid
