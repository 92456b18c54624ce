"""A conversation that another claude has: wait, go on with a copy, or step aside."""

import os
import sys

import psutil

from shim.base import environment, messages
from shim.base.messages import explain, warn
from shim.claude import registry, turns
from shim.locks import live_claudes
from shim.locks.record_lock import ACQUIRED, BYPASS, FORK, UNLOCKED, Holder
from shim.store import plugin_links

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from shim.base.session_key import SessionKey
    from shim.claude.invocation import Invocation


# EX_TEMPFAIL of sysexits.h.
EXIT_BUSY: "Final" = 75

_POLICIES = ("wait", "fork", "fail")
_TIMEOUT = 600.0
_LONGEST_TIMEOUT = 1e6  # beyond it psutil cannot count
# The SDKs give up on a claude that does not answer their `initialize` within 60 s.
_LONGEST_FOR_STREAMS = 45.0
# Seconds that a claude between two turns is given to end: a query() of the SDKs ends with its one.
_HAND_OVER = 1.0
_NOTICE_AFTER = 1.0
_LOOK_EVERY = 0.05


def settle(
    key: "SessionKey",
    asked: "Invocation",
    is_explicit: bool,
    holder: Holder | None,
    wait: "Callable[[WaitPolicy], bool]",
    conversation: "Callable[[], str]",
) -> str:
    """What to do about a conversation that somebody has, having waited where that is the way.

    `is_explicit` says that the caller named the conversation by its id, and reads that transcript
    afterwards: a copy would be of no use to it. `wait` waits while its argument, asked with the
    holder and the seconds waited so far, says that it is worth it, and says whether the
    conversation is ours then. `conversation` says its id. Exits 75 where `NSED_ON_BUSY=fail`.
    """
    if holder is not None and _is_around_us(holder.pid, key):
        explain(f"the call comes from inside the conversation of {key}: claude is left alone")
        return BYPASS
    policy = _policy()
    if policy not in ("fork", "fail") and wait(WaitPolicy(key, asked, policy, conversation)):
        return ACQUIRED
    who = _who(holder)
    if policy == "fail":
        warn(f"{key} is busy: {who} has its conversation, and NSED_ON_BUSY is fail")
        sys.exit(EXIT_BUSY)
    if is_explicit and policy != "fork":
        warn(f"{who} has this conversation, too, and this call runs beside it: turns may get lost")
        return UNLOCKED
    warn(
        f"{who} has the conversation of {key}: this call goes on with a copy of it, which"
        " `claude-shim show` lists and `claude-shim link` brings back"
    )
    return FORK


class RemoteHolder(Holder):
    """Who has the conversation on another host, and whether its turn was under way just now."""

    __slots__ = ("hostname", "is_answering")

    def __init__(self, hostname: str, is_long_running: bool, is_answering: bool) -> None:
        super().__init__(0, is_long_running)
        self.hostname = hostname
        self.is_answering = is_answering


class WaitPolicy:
    """Whether it is still worth it to wait for the claude that has a conversation."""

    __slots__ = (
        "_asked",
        "_conversation",
        "_idle_since",
        "_is_noticed",
        "_key",
        "_limit",
        "_looked",
        "_pid",
        "_policy",
    )

    def __init__(
        self,
        key: "SessionKey",
        asked: "Invocation",
        policy: str | None,
        conversation: "Callable[[], str]",
    ) -> None:
        self._key = key
        self._asked = asked
        self._conversation = conversation
        self._policy = policy
        self._is_noticed = not messages.is_on_terminal()
        self._limit = _timeout()
        if asked.is_streaming and policy != "wait":
            self._limit = min(self._limit, _LONGEST_FOR_STREAMS)
        self._pid = 0
        self._looked = -1.0
        self._idle_since: float | None = None

    def __call__(self, holder: Holder | None, waited: float) -> bool:
        """Whether it is, beside this holder, after so many seconds."""
        if waited > _NOTICE_AFTER and not self._is_noticed:
            self._is_noticed = True
            warn(f"waiting for {self._key}: {_who(holder)} has it")
        if waited >= self._limit:
            return False
        if holder is None or self.is_for_the_end_of(holder):
            return True
        return not self._asked.is_interactive and self._hands_over(holder, waited)

    def is_for_the_end_of(self, holder: Holder) -> bool:
        """Whether the wait is for a holder's run to end, and not only for its turn to."""
        return not holder.is_long_running or self._policy == "wait"

    def _hands_over(self, holder: Holder, waited: float) -> bool:
        """Whether a claude that may go on is in the middle of a turn, or has just ended one."""
        if holder.pid != self._pid:
            self._pid, self._idle_since = holder.pid, None
        if waited - self._looked >= _LOOK_EVERY:
            self._looked = waited
            if self._is_at_work(holder):
                self._idle_since = None
            elif self._idle_since is None:
                self._idle_since = waited
        return self._idle_since is None or waited - self._idle_since < _HAND_OVER

    def _is_at_work(self, holder: Holder) -> bool:
        if isinstance(holder, RemoteHolder):
            return holder.is_answering
        if holder.pid == 0:
            # In another container: of it, no more than the transcript is seen from here.
            return turns.is_under_way(self._conversation())
        return turns.ends_by_itself(holder.pid) or turns.is_answering(holder.pid)


def _who(holder: Holder | None) -> str:
    if isinstance(holder, RemoteHolder):
        return f"a claude on {holder.hostname}"
    return messages.process(holder.pid if holder else 0)


def _is_around_us(pid: int, key: "SessionKey") -> bool:
    """Whether we were called by that claude, or by another of the same room and agent: a fork, or
    the worker that it was left to.

    A command that its Bash tool left in the background may have lost its ancestors, but has the
    session id in its environment.
    """
    ours = environment.get("CLAUDE_CODE_SESSION_ID")
    if ours and pid > 0 and registry.conversation_of(pid) == ours:
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


def _policy() -> str | None:
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
