"""The Claude Agent SDK, from the wheel that `scripts/setup` has fetched for its claude."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from tests.support.real_claude import ROOT, TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_CACHE = ROOT / ".cache"


def wheel() -> Path:
    """Where it is imported from."""
    (found,) = _CACHE.glob("claude-agent-sdk==*")
    return found


def make_importable() -> None:
    """Have `claude_agent_sdk` be importable in this process."""
    if str(wheel()) not in sys.path:
        sys.path.append(str(wheel()))


def run(program: str, environment: Mapping[str, str], directory: Path) -> list[str]:
    """The lines that a program on the SDK prints, nothing being on its stderr."""
    python_path = f"{wheel()}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, "PYTHONPATH": python_path},
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout.splitlines()
