"""Running a program as claude, once, to see what comes of it."""

import contextlib
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

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

    Nothing is opened, learned or recorded on the way.
    """
    try:
        process = subprocess.Popen(
            [program, "--version"],
            env=os.environ | {"NSED_SHIM_DISABLE": "1", "NSED_SHIM_DEBUG": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as problem:
        return Trial("", f"it cannot be run: {problem.strerror}", [], False)
    try:
        output, errors = process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return Trial("", f"it says no version within {_PATIENCE} s", [], False)
    lines = errors.decode("utf-8", "replace").splitlines()
    ours = [line.removeprefix(_OURS) for line in lines if line.startswith(_OURS)]
    warnings = [line for line in ours if not line.startswith("debug: ")]
    said = output.decode("utf-8", "replace").strip().partition("\n")[0]
    complaint = f"it exits with {process.returncode}" if process.returncode else ""
    if complaint and lines:
        complaint += f": {lines[-1].removeprefix(_OURS)}"
    return Trial(said, complaint, warnings, came_through=len(warnings) < len(ours))
