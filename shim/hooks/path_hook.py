"""The hook that reads another host's tool results here: their paths in the transcript are its own.

Claude Code runs it before it reads such a path, and takes what it prints (help facts, "Beyond
one machine").
"""

from __future__ import annotations

import json
import os
import posix
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import NoReturn

_LONGEST = 1 << 20


def main() -> NoReturn:
    """Print where the file is here, if it is here and not there, and exit 0 whatever happens."""
    sys.stderr = None
    try:
        answer = mapped(json.loads(sys.stdin.buffer.read(_LONGEST)))
        if answer is not None:
            sys.stdout.write(json.dumps(answer))
            sys.stdout.flush()
    finally:
        posix._exit(0)


def mapped(event: dict[str, Any]) -> dict[str, Any] | None:
    """What to tell claude of a tool's input that names a file of another host, if it is here."""
    given = event["tool_input"]
    there = str(given["file_path"])
    _, folder, name = there.rpartition("/tool-results/")
    beside = str(event["transcript_path"]).removesuffix(".jsonl")
    here = f"{beside}/tool-results/{name}"
    if not folder or there == here or "/../" in f"/{name}/" or os.path.exists(there):
        return None
    if not os.path.isfile(here):
        return None
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "updatedInput": {**given, "file_path": here},
        }
    }
