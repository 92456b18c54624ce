"""Whether a claude is in the middle of a turn: by its registry, else by its transcript.

A turn that waits for a person's permission counts as ended, and so does one of which a command in
the background goes on (help facts, "Many at once").
"""

import os
import select
import time

import psutil

from shim.claude import background_jobs, lines, registry, transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.claude.lines import Entry

_BUSY = "busy"
_IDLE = "idle"
# Bytes of a transcript's end in which its last message is looked for.
_TAIL = 1 << 20
# Seconds after its start in which a claude is taken to be starting: of one in the registry without
# a turn, and of a process that is not there yet (its age includes what it waited in line before).
_STARTS_WITHIN = 15.0
_REGISTERS_WITHIN = 120.0


def is_answering(pid: int) -> bool:
    """Whether the claude of a pid is in the middle of a turn, or has just been started."""
    if pid == registry.ABOUT_TO_START:
        return True
    entry = registry.entry_of(pid)
    if "status" in entry:
        # A worker is idle for some seconds before it asks what it was left to ask.
        is_left_a_turn = entry["status"] == _IDLE and entry.get("kind") == "bg"
        return bool(entry["status"] == _BUSY) or (
            is_left_a_turn
            and background_jobs.is_answering(background_jobs.state_of(str(entry.get("jobId"))))
        )
    # A stream's claude before 2.1.330 has no status, and any claude none in its first moments.
    ended = None
    if "sessionId" in entry:
        transcript = transcripts.find(str(entry["sessionId"]))[0]
        ended = transcript and has_ended(transcript.path)
    return _is_starting(pid, entry) if ended is None else not ended


def is_under_way(session_id: str) -> bool:
    """Whether the last turn of a conversation's transcript is not answered yet."""
    transcript = transcripts.find(session_id)[0]
    return transcript is not None and has_ended(transcript.path) is False


def ends_by_itself(pid: int) -> bool:
    """Whether a claude's stdin has ended, so that its run ends with its turn.

    The `query()` of Python's SDK closes it before the turn begins. False where that is unknown.
    """
    try:
        file = os.open(f"/proc/{pid}/fd/0", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        poll = select.poll()
        poll.register(file, 0)
        return any(event & select.POLLHUP for _, event in poll.poll(0))
    finally:
        os.close(file)


def has_ended(transcript: str) -> bool | None:
    """Whether no turn of a transcript is under way; None of one without a turn."""
    state = lines.state(_last_entries(transcript))
    return None if state is None else state != lines.UNDER_WAY


def _is_starting(pid: int, entry: "Entry") -> bool:
    try:
        if "startedAt" in entry:
            return time.time() - float(entry["startedAt"]) / 1000 < _STARTS_WITHIN
        return time.time() - psutil.Process(pid).create_time() < _REGISTERS_WITHIN
    except (psutil.Error, TypeError, ValueError):
        return False


def _last_entries(transcript: str) -> "list[Entry]":
    """The entries at a transcript's end, in their order; none where it cannot be read."""
    try:
        with lines.open_regular(transcript) as file:
            last = lines.tail(file, _TAIL)
    except OSError:
        return []
    return list(lines.in_order(line.entry for line in last))
