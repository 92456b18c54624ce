"""A conversation that another claude has: wait for it, fork it, or step aside."""

import os
import sys

import psutil

from shim.base import environment
from shim.base.messages import explain, warn
from shim.claude import registry
from shim.lease.lease import ASIDE, FORK, OURS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Final

    from shim.base.session_key import SessionKey
    from shim.lease.lease import Holder, Lease

# EX_TEMPFAIL of sysexits.h.
EXIT_BUSY: "Final" = 75

_POLICIES = ("wait", "fork", "fail")
_TIMEOUT = 600.0
_LONGEST_TIMEOUT = 1e6  # beyond it psutil cannot count
_NOTICE_AFTER = 1.0


def settle(lease: "Lease", key: "SessionKey", goes_on: bool) -> str:
    """What to do about a lease that somebody has, having waited for it where that is the way.

    Exits 75 where `NSED_ON_BUSY=fail`.
    """
    holder = lease.holder()
    if holder is None and lease.take(goes_on):
        return OURS  # it has just been given back
    if holder is not None and _is_around_us(holder.pid, key):
        explain(f"the call comes from inside the conversation of {key}: claude is left alone")
        return ASIDE
    policy = _policy()
    wait_for_all = policy == "wait"
    if policy is None:
        policy = "fork" if holder is not None and holder.goes_on else "wait"
    if policy == "wait" and _wait(lease, key, goes_on, wait_for_all):
        return OURS
    return _without(policy, key, holder.pid if holder else 0)


def settle_stranger(pid: int, key: "SessionKey", outlasts: "Callable[[int, float], bool]") -> str:
    """What to do about a claude that has the conversation, but was not started through the shim.

    `outlasts` waits for a process, for at most so many seconds, and says whether it has not ended.
    """
    if _is_around_us(pid, key):
        explain(f"the call comes from inside the conversation of {key}: claude is left alone")
        return ASIDE
    policy = _policy() or "fork"
    if policy == "wait" and not outlasts(pid, _timeout()):
        return OURS
    return _without(policy, key, pid)


def _wait(lease: "Lease", key: "SessionKey", goes_on: bool, wait_for_all: bool) -> bool:
    timeout = _timeout()
    noticed = not (sys.stderr is not None and sys.stderr.isatty())

    def is_worth_it(holder: "Holder | None", waited: float) -> bool:
        nonlocal noticed
        if waited > _NOTICE_AFTER and not noticed:
            noticed = True
            warn(f"waiting for {key}: claude {holder.pid if holder else '?'} is answering")
        is_over_soon = holder is None or not holder.goes_on
        return waited < timeout and (wait_for_all or is_over_soon)

    return lease.wait(goes_on, is_worth_it)


def _without(policy: str, key: "SessionKey", pid: int) -> str:
    """What is left to do where the conversation is not to be had."""
    if policy == "fail":
        warn(f"{key} is busy: claude {pid} has its conversation, and NSED_ON_BUSY is fail")
        sys.exit(EXIT_BUSY)
    explain(f"claude {pid} has the conversation of {key}: a fork of it answers")
    return FORK


def _is_around_us(pid: int, key: "SessionKey") -> bool:
    """Whether we were called by that claude, or by another of the same room and agent, a fork.

    A command that its Bash tool left in the background may have lost its ancestors, but has the
    session id in its environment.
    """
    ours = environment.get("CLAUDE_CODE_SESSION_ID")
    if ours and pid > 0 and registry.conversation_of(pid) == ours:
        return True
    try:
        ancestors = psutil.Process().parents()
    except psutil.Error:
        return os.getppid() == pid
    return any(process.pid == pid or _is_claude_of(process, key) for process in ancestors)


def _is_claude_of(process: psutil.Process, key: "SessionKey") -> bool:
    try:
        environ = process.environ()
    except psutil.Error:
        return False
    names = (environ.get("NSED_ROOM_ID"), environ.get("NSED_AGENT_NAME"))
    own = (os.fsdecode(key.room_bytes), os.fsdecode(key.agent_bytes))
    return names == own and registry.conversation_of(process.pid) is not None


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
