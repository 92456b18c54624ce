"""Jobs of claude's own background service: their state, in `jobs/<id>/state.json`.

A person at a terminal who presses ← leaves the session to a job: a copy under another session id,
whose first eight digits are the job's id, with a worker of its own (help facts, "In the
background").
"""

import os
import time

from shim.base import environment, files
from shim.base.json_object import json_object
from shim.base.session_key import is_session_id
from shim.claude.transcripts import config_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    State = dict[str, Any]

_STATE = "state.json"
_DIGITS = 8
# Seconds in which a job's worker starts: some two were measured.
_STARTS_WITHIN = 20.0
# An option of a job that was left in the middle of a turn, and its `tempo` once that is answered.
_ANSWERS = "--reply-on-resume"
_ANSWERED = "idle"
# The `state` of a job that is not stopped, failed or done.
_WANTED = "working"


def own() -> "State | None":
    """The state of the job that this process works for; None outside of any job.

    Empty if the job has written none, such as one that waits for a task.
    """
    directory = environment.get("CLAUDE_JOB_DIR")
    return _read(f"{directory}/{_STATE}") if directory else None


def of_session(session_id: str) -> "State":
    """The state of the job that began a conversation; empty if there is none."""
    state = state_of(id_of(session_id))
    return state if state.get("sessionId") == session_id else {}


def id_of(session_id: str) -> str:
    """The id of the job that began a conversation, if one did."""
    return session_id[:_DIGITS]


def state_of(job: str) -> "State":
    """The state of a job, by its id; empty if there is none."""
    return _read(f"{_directory()}/{job}/{_STATE}")


def every() -> "Iterator[State]":
    """Every job's state."""
    try:
        names = os.listdir(_directory())
    except OSError:
        return
    for name in names:
        state = _read(f"{_directory()}/{name}/{_STATE}")
        if state:
            yield state


def continues_terminal(state: "State") -> bool:
    """Whether the job continues a session that a person left with ←.

    Neither a copy made by `/fork` nor a task from the list of agents does, although both take the
    options of that terminal's claude, too.
    """
    return (
        state.get("template") == "bg"
        and not state.get("forkParentSessionId")
        and is_session_id(str(state.get("sessionId")))
    )


def is_answering(state: "State") -> bool:
    """Whether the job is still to answer a turn that was under way when the terminal was left."""
    has_turn = _ANSWERS in flags(state)
    return has_turn and state.get("tempo") != _ANSWERED


def flags(state: "State") -> list[str]:
    """The options of each worker of the job."""
    given = state.get("respawnFlags")
    return [str(flag) for flag in given] if isinstance(given, list) else []


def is_about_to_start(state: "State") -> bool:
    """Whether a terminal was left for the job so recently that its worker may not have started."""
    job = id_of(str(state.get("sessionId")))
    try:
        # Not the creation time: with a turn under way, it is left some ten seconds later.
        left = os.stat(f"{_directory()}/{job}/{_STATE}").st_mtime
    except OSError:
        return False
    return state.get("state") == _WANTED and time.time() - left < _STARTS_WITHIN


def _directory() -> str:
    return config_directory() + "/jobs"


def _read(path: str) -> "State":
    return json_object(files.read(path))
