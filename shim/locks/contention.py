"""A conversation that another claude has: wait for it, fork it, or step aside."""

import os
import sys
import time

import psutil

from shim.base import environment, messages
from shim.base.messages import EXIT_BUSY, Failure, explain, warn
from shim.claude import registry, turns
from shim.locks import live_claudes
from shim.locks.record_lock import ACQUIRED, BYPASS, FORK, UNLOCKED, Holder
from shim.store import markers, plugin_links
from shim.store.store import directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from shim.base.session_key import SessionKey
    from shim.claude.invocation import Invocation
    from shim.locks.record_lock import Lock

    class Caller(Protocol):
        """What is to be known of the call that is in the way of another."""

        key: SessionKey
        invocation: Invocation

        @property
        def is_explicit(self) -> bool:
            """Whether the caller named the conversation by its id, to read its transcript."""

    class Contended(Protocol):
        """Something that another claude has and a call wants, on this host or on another."""

        @property
        def pause(self) -> float:
            """Seconds after which it is worth trying again."""

        def holder(self) -> Holder | None:
            """Who has it, if anyone."""

        def is_mid_turn(self, holder: Holder) -> bool:
            """Whether the holder is in the middle of a turn, or ends with its turn."""

        def describe(self, holder: Holder | None) -> str:
            """The holder, as a message names it."""

        def try_acquire(self) -> bool:
            """Acquire it if it is free; from the second time on in the queue, if there is one."""

        def leave_queue(self) -> None:
            """Wait no longer."""


_POLICIES = ("wait", "fork", "fail")
_TIMEOUT = 600.0
_LONGEST_TIMEOUT = 1e6  # beyond it psutil cannot count
# The SDKs give up on a claude that does not answer their `initialize` within 60 s.
_LONGEST_FOR_STREAMS = 45.0
# Seconds that a claude between two turns is given to end: a query() of the SDKs ends with its one.
_HAND_OVER = 1.0
_NOTICE_AFTER = 1.0
_LOOK_EVERY = 0.05
# Seconds between two looks of the first in a queue, of each behind it twice as many: so that a
# hundred who wait cost next to nothing, and the few at the front are there when their turn comes.
_PAUSE, _LONGEST_PAUSE = 0.01, 2.0
_NEAR_THE_FRONT = 8


def resolve(
    call: "Caller", contended: "Contended", wait: "Callable[[Contended, WaitPolicy], bool]"
) -> str:
    """What a call does about what another claude has, after a wait where the policy asks for one.

    Returns an outcome. `wait` is `wait_for`, or what stands for it in a dry run. Exits 75 where
    `NSED_ON_BUSY=fail`.
    """
    holder, key = contended.holder(), call.key
    if holder is not None and _is_around_us(holder.pid, key):
        explain(f"the call comes from inside the conversation of {key}: claude is left alone")
        return BYPASS
    on_busy = _on_busy()
    may_wait = on_busy not in ("fork", "fail")
    if may_wait and wait(contended, WaitPolicy(call, contended, on_busy)):
        return ACQUIRED
    who = contended.describe(holder)
    if on_busy == "fail":
        warn(f"{key} is in use by {who}, and NSED_ON_BUSY=fail")
        sys.exit(EXIT_BUSY)
    if call.is_explicit and on_busy != "fork":
        # Its caller reads that very transcript afterwards: a fork would be of no use to it.
        warn(f"{who} is using this conversation, too: concurrent turns may be lost")
        return UNLOCKED
    warn(
        f"{key} is in use by {who}: this call runs in a fork of its conversation, and both will"
        " know each other's turns"
    )
    return FORK


def wait_for(contended: "Contended", policy: "WaitPolicy") -> bool:
    """Wait while the policy allows it; return whether the call has it now.

    A signal ends the wait as it would end any program.
    """
    started = time.monotonic()
    try:
        while policy.allows(contended.holder(), time.monotonic() - started):
            if contended.try_acquire():
                return True
            time.sleep(contended.pause)
        return False
    finally:
        contended.leave_queue()


def has_tasks(pid: int) -> bool:
    """Whether background tasks of a claude run on after its last turn, so that another will follow.

    Its hook notes that (help facts, "Catching up").
    """
    entry = registry.entry_of(pid)
    try:
        since = markers.tasks_since(directory(make=False), str(entry.get("sessionId")))
        return since is not None and since > psutil.Process(int(entry["pid"])).create_time()
    except (Failure, psutil.Error, KeyError, ValueError):
        return False


class _OnThisHost:
    """What a claude of this host has, or one of a container beside it."""

    __slots__ = ("_session_id",)

    def __init__(self, session_id: "Callable[[], str]") -> None:
        self._session_id = session_id

    def is_mid_turn(self, holder: Holder) -> bool:
        """Whether the holder is in the middle of a turn, or ends with its turn."""
        if holder.pid == 0:
            # In another container: of it, no more than the transcript is seen from here.
            return turns.is_under_way(self._session_id())
        pid = holder.pid
        return turns.ends_by_itself(pid) or turns.is_answering(pid) or has_tasks(pid)

    def describe(self, holder: Holder | None) -> str:
        """The holder, as a message names it."""
        return messages.process(holder.pid if holder else 0)


class LocalLock(_OnThisHost):
    """A lock that another claude has, and its queue.

    `session_id` names the conversation that it is about at the moment.
    """

    __slots__ = ("_is_long_running", "_lock")

    def __init__(
        self, lock: "Lock", is_long_running: bool, session_id: "Callable[[], str]"
    ) -> None:
        super().__init__(session_id)
        self._lock = lock
        self._is_long_running = is_long_running

    @property
    def pause(self) -> float:
        """Seconds: the first in the queue looks often, those behind it seldom."""
        return min(_PAUSE * (1 << self._lock.ahead(_NEAR_THE_FRONT)), _LONGEST_PAUSE)

    def holder(self) -> Holder | None:
        """Who has the lock, if anyone but this process."""
        return self._lock.holder()

    def try_acquire(self) -> bool:
        """Acquire the lock when its turn in the queue has come."""
        self._lock.enter_queue()
        return self._lock.try_acquire(self._is_long_running)

    def leave_queue(self) -> None:
        """Leave the queue."""
        self._lock.leave_queue()


class Unmanaged(_OnThisHost):
    """A conversation that claudes live on that were not started through the shim."""

    __slots__ = ()

    pause = _LOOK_EVERY

    def __init__(self, session_id: str) -> None:
        super().__init__(lambda: session_id)

    def holder(self) -> Holder | None:
        """One of them, if there is one. Each may go on."""
        pid = registry.live_on(self._session_id())
        return None if pid is None else Holder(pid, is_long_running=True)

    def try_acquire(self) -> bool:
        """Whether the last of them has left."""
        return self.holder() is None

    def leave_queue(self) -> None:
        """Nothing: there is no queue."""


class WaitPolicy:
    """Whether it is still worth it to wait for the claude that has a conversation.

    `on_busy` is what `NSED_ON_BUSY` asks for, if anything.
    """

    __slots__ = (
        "_contended",
        "_idle_since",
        "_invocation",
        "_is_announced",
        "_key",
        "_limit",
        "_looked",
        "_on_busy",
        "_pid",
    )

    def __init__(self, call: "Caller", contended: "Contended", on_busy: str | None) -> None:
        self._key = call.key
        self._invocation = call.invocation
        self._contended = contended
        self._on_busy = on_busy
        self._is_announced = not messages.is_on_terminal()
        self._limit = _timeout()
        if call.invocation.is_streaming and on_busy != "wait":
            self._limit = min(self._limit, _LONGEST_FOR_STREAMS)
        self._pid = 0
        self._looked = -1.0
        self._idle_since: float | None = None

    def allows(self, holder: Holder | None, waited: float) -> bool:
        """Whether it is worth waiting for this holder, after so many seconds."""
        if waited > _NOTICE_AFTER and not self._is_announced:
            self._is_announced = True
            warn(f"waiting for {self._key}: in use by {self._contended.describe(holder)}")
        if waited >= self._limit:
            return False
        if holder is None or self.is_for_the_end_of(holder):
            return True
        return not self._invocation.is_interactive and self._hands_over(holder, waited)

    def is_for_the_end_of(self, holder: Holder) -> bool:
        """Whether the wait is for a holder's run to end, and not only for its turn to."""
        return not holder.is_long_running or self._on_busy == "wait"

    def _hands_over(self, holder: Holder, waited: float) -> bool:
        """Whether a claude that may go on is in the middle of a turn, or has just ended one."""
        if holder.pid != self._pid:
            self._pid, self._idle_since = holder.pid, None
        if waited - self._looked >= _LOOK_EVERY:
            self._looked = waited
            if self._contended.is_mid_turn(holder):
                self._idle_since = None
            elif self._idle_since is None:
                self._idle_since = waited
        return self._idle_since is None or waited - self._idle_since < _HAND_OVER


def _is_around_us(pid: int, key: "SessionKey") -> bool:
    """Whether we were called by that claude, or by another of the same room and agent: a fork, or
    the worker that it was left to.

    A command that its Bash tool left in the background may have lost its ancestors, but has the
    session id in its environment. With `NSED_SHIM_PID` there, too, it names the room on purpose:
    what it inherits it would not get here with.
    """
    ours = environment.get("CLAUDE_CODE_SESSION_ID")
    is_cleared = not environment.get("NSED_SHIM_PID")
    if ours and is_cleared and pid > 0 and registry.conversation_of(pid) == ours:
        return True
    if str(plugin_links.key_of_worker()) == str(key):
        return True
    try:
        ancestors = psutil.Process().parents()
    except psutil.Error:
        return pid > 0 and os.getppid() == pid
    return any(process.pid == pid or _is_claude_of(process, key) for process in ancestors)


def _is_claude_of(process: psutil.Process, key: "SessionKey") -> bool:
    its = live_claudes.key_of(process.pid)
    return str(its) == str(key) and registry.conversation_of(process.pid) is not None


def _on_busy() -> str | None:
    """What `NSED_ON_BUSY` asks for, or None where it is unset."""
    policy = environment.get("NSED_ON_BUSY")
    if policy and policy not in _POLICIES:
        warn(f"NSED_ON_BUSY={policy} is none of wait, fork and fail: taken as unset")
        return None
    return policy or None


def _timeout() -> float:
    """`NSED_BUSY_TIMEOUT`, in seconds."""
    text = environment.get("NSED_BUSY_TIMEOUT")
    try:
        seconds = float(text or _TIMEOUT)
    except ValueError:
        seconds = -1.0
    if not seconds >= 0:
        warn(f"NSED_BUSY_TIMEOUT={text} is no number of seconds: {_TIMEOUT:g} is taken")
        return _TIMEOUT
    return min(seconds, _LONGEST_TIMEOUT)
