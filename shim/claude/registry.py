"""Claude Code's own registry of what runs: `sessions/<pid>.json` in its config directory.

A known key asks it at each call, so what it has is searched before it is parsed.
"""

import posix

from shim.base import files
from shim.claude.transcripts import config_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

# In the place of a pid: of a worker in the background that does not run yet.
ABOUT_TO_START: "Final" = -1

# Where they stand in /proc/<pid>/stat, counted behind the process's name (proc(5)), and the flag
# of one that is on its way out: it has given back its locks, but may be no zombie yet.
_FLAGS = 6
_START = 19
_PF_EXITING = 4


def live_on(session_id: str) -> int | None:
    """The pid of a claude that is live on the conversation, or None.

    A killed claude leaves its entry behind, and its pid may be another's by now: an entry counts
    only where a process of that pid and start time is there. ABOUT_TO_START where a person at a
    terminal has just left it to a worker.
    """
    for content in _contents():
        if session_id.encode() in content:
            entry = _entry(content)
            if entry.get("sessionId") == session_id and _is_live(entry):
                return int(entry["pid"])
    # A job of claude's background service is named after the conversation that it began with.
    if posix.access(f"{config_directory()}/jobs/{session_id[:8]}", posix.F_OK):
        from shim.claude import background_jobs  # it imports more than a call may need

        has_started = any(e.get("jobId") == session_id[:8] for e in _all_entries())
        is_starting = not has_started and background_jobs.is_about_to_start(
            background_jobs.of_session(session_id)
        )
        return ABOUT_TO_START if is_starting else None
    return None


def parked_on(job: str) -> str | None:
    """The session id that a terminal's claude was on as it was left for a job, or None.

    Known from its entry, which a claude that was killed leaves behind.
    """
    found = (e.get("sessionId") for e in _all_entries() if e.get("parkedJobId") == job)
    named = next(found, None)
    return named if isinstance(named, str) else None


def left_by(pid: int, start: str) -> str | None:
    """The session id that a claude is on, or was as it was killed; None where nothing says.

    `start` is when it was started, as `start_of` says it.
    """
    entry = _entry(files.read(f"{config_directory()}/sessions/{pid}.json"))
    named = entry.get("sessionId")
    return named if isinstance(named, str) and str(entry.get("procStart")) == start else None


def start_of(pid: int) -> str | None:
    """When a process was started, as the system counts; None where it is gone, or has no /proc."""
    try:
        stat = _stat(pid)
        return stat[_START].decode() if stat else None
    except (IndexError, ValueError):
        return None


def conversation_of(pid: int) -> str | None:
    """The session id a claude is on, or None where the registry does not say."""
    entry = _of(pid)
    return str(entry["sessionId"]) if "sessionId" in entry else None


def worker_of(job: str) -> tuple[int, str] | None:
    """The pid of a job's live worker, and when it was started; None where none lives.

    The start is as `start_of` counts, else in seconds of the system's clock.
    """
    for entry in _entries():
        if entry.get("jobId") == job:
            pid = int(entry["pid"])
            return pid, start_of(pid) or f"{float(entry['startedAt']) / 1000:.3f}"
    return None


def is_in_background(pid: int) -> bool:
    """Whether a claude is a worker of claude's own background service (`--bg`, or ←)."""
    return bool(_of(pid).get("kind") == "bg")


def entry_of(pid: int) -> "dict[str, Any]":
    """What the registry says of a claude; of one in the background, what it says of its worker.

    A claude whose conversation was moved to a worker (`parkedJobId`) goes on as that. Empty where
    the registry says nothing.
    """
    entry = _of(pid)
    parked = entry.get("parkedJobId")
    workers = [other for other in _entries() if other.get("jobId") == parked] if parked else []
    return workers[0] if workers else entry


def conversations() -> dict[int, str]:
    """The session id that each live claude is on, by its pid."""
    return {int(e["pid"]): str(e["sessionId"]) for e in _entries() if "sessionId" in e}


def _of(pid: int) -> "dict[str, Any]":
    """The entry of a live claude; empty where there is none."""
    entry = _entry(files.read(f"{config_directory()}/sessions/{pid}.json"))
    return entry if entry and _is_live(entry) else {}


def _entries() -> "list[dict[str, Any]]":
    """The entries of all live claudes."""
    return [entry for entry in _all_entries() if _is_live(entry)]


def _all_entries() -> "list[dict[str, Any]]":
    """Every entry, those that killed claudes left behind among them."""
    return [_entry(content) for content in _contents()]


def _contents() -> "Iterator[bytes]":
    """The content of each file of the registry."""
    directory = config_directory() + "/sessions"
    try:
        names = posix.listdir(directory)
    except OSError:
        return
    # Beside an entry can be a key: `<pid>.<64 digits>.key`.
    for name in names:
        if name.endswith(".json"):
            yield files.read(f"{directory}/{name}")


def _entry(content: bytes) -> "dict[str, Any]":
    from shim.base.json_object import json_object

    return json_object(content)


def _is_live(entry: "dict[str, Any]") -> bool:
    try:
        pid = int(entry["pid"])
        stat = _stat(pid)
        if stat is not None:
            is_exiting = int(stat[_FLAGS]) & _PF_EXITING
            return not is_exiting and stat[_START].decode() == str(entry["procStart"])
        return _is_live_by_time(pid, float(entry["startedAt"]) / 1000)
    except (KeyError, IndexError, TypeError, ValueError):
        return False


def _is_live_by_time(pid: int, registered: float) -> bool:
    """The same without /proc: a process that started after the entry was made is another."""
    import psutil

    try:
        process = psutil.Process(pid)
        is_zombie = process.status() == psutil.STATUS_ZOMBIE
        return not is_zombie and process.create_time() <= registered + 1
    except psutil.Error:
        return False


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/<pid>/stat behind the name; None where there is no /proc."""
    if not posix.access("/proc/self/stat", posix.R_OK):
        return None
    # The name, in parentheses, can hold anything, parentheses too.
    return files.read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
