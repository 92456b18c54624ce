"""Running a program as claude, once, to see what comes of it."""

import os
from dataclasses import dataclass
from pathlib import Path

from shim.base import programs

# Seconds that claude may take to say its version.
_PATIENCE = 5
_OURS = "claude-shim: "


@dataclass(frozen=True)
class Trial:
    """What came of running a program as claude, once."""

    version: str
    """What it printed."""
    complaint: str
    """Why it is no good, or empty."""
    warnings: list[str]
    """What the wrapper warned of."""
    came_through: bool
    """Whether the wrapper ran."""


def try_out(program: Path) -> Trial:
    """Run a launcher, or what may lead to one, for claude's version, as a shell would run it.

    Nothing is opened, discovered or recorded on the way.
    """
    environ = os.environ | {"NSED_SHIM_DISABLE": "1", "NSED_SHIM_DEBUG": "1"}
    try:
        outcome = programs.run([program, "--version"], environ, _PATIENCE)
    except OSError as problem:
        return Trial("", f"it cannot be run: {problem.strerror}", [], False)
    except programs.Overrun as problem:
        return Trial("", f"it says no version: {problem}", [], False)
    lines = outcome.errors.splitlines()
    ours = [line.removeprefix(_OURS) for line in lines if line.startswith(_OURS)]
    warnings = [line for line in ours if not line.startswith("debug: ")]
    said = outcome.output.strip().partition("\n")[0]
    complaint = f"it exits with {outcome.exit_code}" if outcome.exit_code else ""
    if complaint and lines:
        complaint += f": {lines[-1].removeprefix(_OURS)}"
    return Trial(said, complaint, warnings, came_through=len(warnings) < len(ours))
