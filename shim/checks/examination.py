"""The checks of `claude-shim doctor`. No check changes anything."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING

from shim.checks import (
    fleet_health,
    installation,
    locking,
    retained,
    storage,
    surroundings,
)
from shim.checks.finding import Finding, problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from types import FrameType

    from shim.checks.setup import Setup

# By name. A fault explains those of later checks.
CHECKS: Mapping[str, Callable[[Setup], Iterator[Finding]]] = {
    "version": installation.version,
    "launcher": installation.launcher,
    "python": installation.python,
    "path": installation.path,
    "shell": installation.shell,
    "claude": installation.claude,
    "options": installation.options,
    "plugin": installation.plugin,
    "hook": installation.hook,
    "store": storage.store,
    "privacy": storage.privacy,
    "unrecorded": storage.unrecorded,
    "backup": storage.backup,
    "locks": locking.locks,
    "claudes": locking.claudes,
    "clean-up": retained.clean_up,
    "refusals": storage.refusals,
    "clock": storage.clock,
    "disk": storage.disk,
    "fleet": fleet_health.fleet,
    "environment": surroundings.variables,
    "opencode": surroundings.opencode,
    "sdks": surroundings.sdks,
}

# Seconds that a check may take. Checks that wait for something stop earlier.
_TIMEOUT = 60


def examine(setup: Setup) -> Iterator[tuple[str, Finding]]:
    """Run each check, and yield its name and findings.

    A check that raises or does not end is a finding, too: nothing stops the others.
    """
    for name, check in CHECKS.items():
        found: list[Finding] = []
        try:
            with _limited():
                found += check(setup)
        except Exception as failure:
            reason = f"{type(failure).__name__}: {failure}"
            found.append(problem(f"this check failed ({reason})", "fix that reason, or report it"))
        for finding in found:
            yield name, finding


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def give_up(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"it took longer than {_TIMEOUT} s")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, _TIMEOUT)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
