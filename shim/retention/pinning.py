"""What each call does so that its conversation outlives claude's clean-up.

A transcript that has its pin costs a call two system calls; all else is imported when needed.
"""

import posix
import time

from shim.base import times
from shim.base.messages import explain
from shim.claude import transcripts
from shim.retention import pins

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result

    from shim.claude.transcripts import Transcript

_OWNER_WRITES = 0o200


def pin(store: str, session_id: str, transcript: "Transcript", is_ours: bool) -> bool:
    """Pin the transcript of a conversation that is resumed now; return whether it still exists.

    One that has been idle for half a day gets the current time: otherwise a claude could clean it
    up before the one that resumes it writes its first turn. `is_ours` means that this call has the
    conversation's lock, so that nobody writes the transcript.
    """
    pin_path = pins.path(store, session_id)
    path = transcript.path
    if transcripts.is_temporary(path):
        path = _moved_to_usual(path, is_ours)
    is_pinned = True
    try:
        status = posix.lstat(pin_path)
    except OSError:
        is_pinned = pins.days() > 0 and _link(pin_path, path)
    else:
        if is_ours and _is_another(status, transcript.status):
            _join(store, session_id, path)
    if is_pinned:
        _retain_sidecars(store, session_id, path)
    if time.time() - transcript.status.st_mtime < times.DAY / 2:
        return True
    try:
        posix.utime(path)
        posix.utime(pin_path)  # where it is a copy
    except FileNotFoundError:
        return transcripts.exists(path)
    except OSError as problem:
        explain(f"the time of {path} cannot be set: {problem.strerror}")
    return True


def _moved_to_usual(transcript: str, is_ours: bool) -> str:
    from shim.retention import config_directories

    try:
        return config_directories.move_to_usual(transcript) if is_ours else transcript
    except OSError as problem:
        explain(f"{transcript} stays under a temporary config directory: {problem.strerror}")
        return transcript


def _retain_sidecars(store: str, session_id: str, transcript: str) -> None:
    own, kept = transcripts.sidecars_of(transcript), pins.sidecars_of(store, session_id)
    is_any = transcripts.exists(own) or transcripts.exists(kept)
    if is_any and not _are_retained(own, kept):
        from shim.retention import sidecars  # seldom: they change by long results and subagents

        sidecars.retain(store, session_id, transcript)


def _are_retained(own: str, kept: str) -> bool:
    """Whether no directory of sidecars has changed since it was retained."""
    try:
        sources = pins.sidecar_sources(kept)
        return (own in sources.values() or not transcripts.exists(own)) and all(
            pins.last_change(source) == posix.stat(f"{kept}/{name}").st_mtime_ns
            for name, source in sources.items()
        )
    except OSError:
        return False


def _is_another(pinned: "stat_result", transcript: "stat_result") -> bool:
    """Whether a pin is neither a link to the transcript nor a copy that is behind it."""
    is_link = pinned.st_mode & _OWNER_WRITES
    is_longer = pinned.st_size > transcript.st_size
    return pinned.st_ino != transcript.st_ino and bool(is_link or is_longer)


def _join(store: str, session_id: str, transcript: str) -> None:
    from shim.retention import restoring

    try:
        restoring.join(store, session_id, transcript)
    except OSError as problem:
        explain(f"{transcript} is not joined with its pin: {problem.strerror}")


def _link(pin_path: str, transcript: str) -> bool:
    """Pin a transcript that has no pin; the housekeeping does what fails here."""
    if _is_noted_elsewhere(pin_path, transcript):
        explain(f"{transcript} is not pinned: the conversation's noted transcript is another")
        return False
    try:
        # Before the pin exists: one without an origin could not be restored.
        _note_origin(pin_path, transcript)
        posix.link(transcript, pin_path)
        pins.note(pins.link_of(pin_path), pins.identity(pin_path))
    except OSError as problem:
        explain(f"{transcript} is not pinned: {problem.strerror}")
        return False
    return True


def _is_noted_elsewhere(pin_path: str, transcript: str) -> bool:
    """Whether the conversation's noted transcript is another file, which exists."""
    try:
        noted = posix.readlink(pins.origin_of(pin_path))
    except OSError:
        return False
    return noted != transcript and transcripts.exists(noted)


def _note_origin(pin_path: str, transcript: str) -> None:
    if not transcript.startswith("/"):
        transcript = f"{posix.getcwd()}/{transcript}"
    pins.note(pins.origin_of(pin_path), transcript)


def note_start(store: str, session_id: str) -> None:
    """Note the transcript that a conversation which starts now will have.

    A claude under another config directory finds it there.
    """
    project = transcripts.this_project()
    if project is None:
        return  # the housekeeping will find it
    transcript = f"{project}/{session_id}{transcripts.ENDING}"
    try:
        if transcripts.is_temporary(transcript):
            from shim.retention import config_directories

            transcript = config_directories.link_new(transcript)
        _note_origin(pins.path(store, session_id), transcript)
    except OSError as problem:
        explain(f"the transcript's path is not noted: {problem.strerror}")


def can_be_restored(store: str, session_id: str) -> bool:
    """Whether the conversation is under another config directory, or can be restored.

    Raises OSError.
    """
    if not _can_be_elsewhere(store, session_id):
        return False
    from shim.retention import config_directories, restoring

    is_elsewhere = config_directories.elsewhere(store, session_id) is not None
    return is_elsewhere or restoring.restore_target(store, session_id) is not None


def begin_restore(store: str, session_id: str) -> bool:
    """Mark a pinned conversation whose transcript is useless to be restored.

    Returns whether the compressed copy will replace the transcript. Raises OSError.
    """
    if not pins.is_pinned(store, session_id):
        return False
    from shim.retention import restoring

    return restoring.begin_restore(store, session_id)


def restore(store: str, session_id: str) -> "Transcript | None":
    """The transcript that is not under this config directory: another one's, or restored.

    The pin of one that a person deleted is removed. Raises OSError where it cannot be restored: it
    stays pinned then.
    """
    if not _can_be_elsewhere(store, session_id):
        return None
    from shim.retention import config_directories

    return config_directories.restore(store, session_id)


def unpin(store: str, session_id: str) -> None:
    """Stop retaining a conversation. Its transcript stays. Raises OSError."""
    from shim.retention import restoring

    restoring.drop(store, session_id)


def _can_be_elsewhere(store: str, session_id: str) -> bool:
    """Whether the conversation has a pin, or was last under another config directory."""
    if pins.is_pinned(store, session_id):
        return True
    try:
        noted = posix.readlink(pins.origin_of(pins.path(store, session_id)))
    except OSError:
        return False
    return not noted.startswith(transcripts.config_directory() + "/")
