"""The Claude Agent SDK, from the wheel that `scripts/setup` has fetched for its claude."""

from __future__ import annotations

import sys
from pathlib import Path

_CACHE = Path(__file__).parents[2] / ".cache"


def wheel() -> Path:
    """Where it is imported from."""
    (found,) = _CACHE.glob("claude-agent-sdk==*")
    return found


def make_importable() -> None:
    """Have `claude_agent_sdk` be importable in this process."""
    if str(wheel()) not in sys.path:
        sys.path.append(str(wheel()))
