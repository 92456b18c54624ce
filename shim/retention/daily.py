"""The daily housekeeping: a call starts it, in a process of its own that nobody waits for."""

from shim.base import environment, times
from shim.base.messages import explain
from shim.claude import transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

STAMP: "Final" = "housekeeping"


def start_if_due(store: str) -> None:
    """Start the housekeeping, unless it was started within a day.

    In a new store the first day begins now.
    """
    # One stamp for each of claude's config directories.
    directory = environment.get("CLAUDE_CONFIG_DIR")
    try:
        is_due = times.is_due(f"{store}/{STAMP}{transcripts.project_name(directory)}")
    except OSError as problem:
        explain(f"no housekeeping: {problem.strerror}")
        return
    if is_due:
        from shim.retention import detaching  # once a day

        detaching.start_housekeeping(store)
