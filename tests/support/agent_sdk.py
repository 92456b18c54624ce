"""The Claude Agent SDK, from the wheel that `scripts/setup` has fetched for its claude."""

from __future__ import annotations

import sys
from pathlib import Path

_WHEELS = Path(__file__).parents[2] / ".cache"


def importable() -> None:
    """Have `claude_agent_sdk` be importable."""
    (wheel,) = _WHEELS.glob("claude-agent-sdk==*")
    if str(wheel) not in sys.path:
        sys.path.append(str(wheel))
