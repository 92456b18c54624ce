"""Whether a claude is in the middle of a turn: by its registry, else by its transcript.

A turn that waits for a person's permission counts as ended, and so does one of which a command in
the background goes on (help facts, "Many at once").
"""

import json
import os
import select
import time

import psutil

from shim.claude import background_jobs, registry, transcripts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_BUSY = "busy"
_IDLE = "idle"
# Bytes of a transcript's end in which its last message is looked for.
_TAIL = 1 << 20
_ENDINGS = ("end_turn", "stop_sequence", "max_tokens", "refusal")
_INTERRUPTED = "[Request interrupted by user"
# Seconds for which a claude that tells nothing of itself is taken to be starting.
_STARTS_WITHIN = 15.0


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
    return _is_starting(pid) if ended is None else not ended


def is_under_way(session_id: str) -> bool:
    """Whether the last turn of a conversation's transcript is not answered yet."""
    transcript = transcripts.find(session_id)[0]
    return transcript is not None and has_ended(transcript.path) is False


def ends_by_itself(pid: int) -> bool:
    """Whether a claude's stdin has ended, so that its run ends with its turn.

    The `query()` of Python's SDK closes it before the turn begins. False where that cannot be told.
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
    """Whether the last turn of a transcript is answered; None of one without a message."""
    for entry in reversed(_last_messages(transcript)):
        message = entry["message"]
        if entry["type"] == "assistant":
            return message.get("stop_reason") in _ENDINGS
        return _INTERRUPTED in json.dumps(message.get("content"))
    return None


def last_answer(transcript: str) -> str | None:
    """The uuid of the message that ends the last finished turn, or None where none is seen."""
    for entry in reversed(_last_messages(transcript)):
        is_end = entry["type"] == "assistant" and entry["message"].get("stop_reason") in _ENDINGS
        if is_end and isinstance(entry.get("uuid"), str):
            return str(entry["uuid"])
    return None


def is_seen_whole(transcript: str) -> bool:
    """Whether a transcript is short enough for all of its turns to be looked at here."""
    return os.path.getsize(transcript) <= _TAIL


def _is_starting(pid: int) -> bool:
    try:
        return time.time() - psutil.Process(pid).create_time() < _STARTS_WITHIN
    except (psutil.Error, ValueError):
        return False


def _last_messages(transcript: str) -> "list[dict[str, Any]]":
    try:
        with open(transcript, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL))
            lines = file.read(_TAIL).split(b"\n")
    except OSError:
        return []
    entries = [entry for line in lines if (entry := transcripts.entry(line))]
    return [entry for entry in _in_order(entries) if transcripts.is_message(entry)]


def _in_order(entries: "list[dict[str, Any]]") -> "Iterator[dict[str, Any]]":
    """Entries in the order of the file, but each behind the one that it follows.

    2.1.197, when busy, writes an answer in front of what it answers now and then.
    """
    to_come = {str(entry["uuid"]) for entry in entries if "uuid" in entry}
    waiting: dict[str, list[dict[str, Any]]] = {}
    for entry in entries:
        ready = [entry]
        while ready:
            each = ready.pop()
            parent, own = str(each.get("parentUuid")), str(each.get("uuid"))
            if parent in to_come and parent != own:
                waiting.setdefault(parent, []).append(each)
                continue
            yield each
            to_come.discard(own)
            ready += reversed(waiting.pop(own, []))
