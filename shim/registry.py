"""Claude Code's own registry of what runs: `sessions/<pid>.json` in its config directory."""

import posix

from shim.transcripts import config_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Where a process's start time stands in /proc/<pid>/stat, counted behind its name (proc(5)).
_START = 19


def live_on(session_id: str) -> int | None:
    """The pid of a claude that is live on the conversation, or None.

    A killed claude leaves its entry behind, and its pid may be another's by now: an entry counts
    only where a process of that pid and start time is there.
    """
    directory = config_directory() + "/sessions"
    try:
        names = posix.listdir(directory)
    except OSError:
        return None
    for name in names:
        content = _content(f"{directory}/{name}") if name.endswith(".json") else b""
        if session_id.encode() in content:
            entry = _entry(content)
            if entry.get("sessionId") == session_id and _is_live(entry):
                return int(entry["pid"])
    return None


def conversation_of(pid: int) -> str | None:
    """The session id a claude is on, or None where the registry does not say."""
    entry = _entry(_content(f"{config_directory()}/sessions/{pid}.json"))
    return str(entry["sessionId"]) if "sessionId" in entry and _is_live(entry) else None


def _content(path: str) -> bytes:
    try:
        file = posix.open(path, posix.O_RDONLY | posix.O_NONBLOCK)
    except OSError:
        return b""
    try:
        return posix.read(file, 1 << 16)
    except OSError:
        return b""
    finally:
        posix.close(file)


def _entry(content: bytes) -> "dict[str, Any]":
    import json

    try:
        entry = json.loads(content)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) else {}


def _is_live(entry: "dict[str, Any]") -> bool:
    import psutil

    try:
        pid = int(entry["pid"])
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        # Linux: the start time in clock ticks since boot, exact; elsewhere, a process that has
        # the pid of an entry but started after it is another.
        start = _start_ticks(pid)
        if start is not None and "procStart" in entry:
            return start == str(entry["procStart"])
        return process.create_time() <= float(entry["startedAt"]) / 1000 + 1
    except (KeyError, TypeError, ValueError, psutil.Error):
        return False


def _start_ticks(pid: int) -> str | None:
    # The name, in parentheses, can hold anything: the fields are those behind the last one.
    stat = _content(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return stat[_START].decode() if len(stat) > _START else None
