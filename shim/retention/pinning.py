"""What each call does so that its conversation outlives claude's clean-up.

A transcript that is there and kept costs a call two looks; all else is loaded late.
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
    """Keep the transcript of a conversation that goes on now; return whether it is still there.

    One that has been idle for half a day counts as written now: else a claude could clean it up
    before the one that resumes it writes its first turn. `is_ours` says that nobody writes it.
    """
    kept = pins.path(store, session_id)
    path = transcript.path
    if transcripts.is_temporary(path):
        path = _settled(path, is_ours)
    is_pinned = True
    try:
        status = posix.lstat(kept)
    except OSError:
        is_pinned = pins.days() > 0 and _link(kept, path)
    else:
        if is_ours and _is_another(status, transcript.status):
            _join(store, session_id, path)
    if is_pinned:
        _retain_sidecars(store, session_id, path)
    if time.time() - transcript.status.st_mtime < times.DAY / 2:
        return True
    try:
        posix.utime(path)
        posix.utime(kept)  # where it is a copy
    except FileNotFoundError:
        return transcripts.exists(path)
    except OSError as problem:
        explain(f"{path} keeps its time: {problem.strerror}")
    return True


def _settled(transcript: str, is_ours: bool) -> str:
    from shim.retention import config_directories

    try:
        return config_directories.move_to_usual(transcript) if is_ours else transcript
    except OSError as problem:
        explain(f"{transcript} stays in a temporary account: {problem.strerror}")
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


def _is_another(kept: "stat_result", transcript: "stat_result") -> bool:
    """Whether the kept file is no link to the transcript, and no copy, which may be behind."""
    is_link = kept.st_mode & _OWNER_WRITES
    return kept.st_ino != transcript.st_ino and bool(is_link or kept.st_size > transcript.st_size)


def _join(store: str, session_id: str, transcript: str) -> None:
    from shim.retention import restoring

    try:
        restoring.join(store, session_id, transcript)
    except OSError as problem:
        explain(f"{transcript} stays without what is kept: {problem.strerror}")


def _link(kept: str, transcript: str) -> bool:
    """Link a transcript that is not kept yet; what fails here, housekeeping does."""
    if _is_of_another(kept, transcript):
        explain(f"{transcript} is not linked: the conversation is noted to be elsewhere")
        return False
    try:
        # Before the kept file is there: one without an origin could not be put back.
        _note_origin(kept, transcript)
        posix.link(transcript, kept)
        pins.note(pins.link_of(kept), pins.identity(kept))
    except OSError as problem:
        explain(f"{transcript} is not linked: {problem.strerror}")
        return False
    return True


def _is_of_another(kept: str, transcript: str) -> bool:
    """Whether the conversation is noted as another file, which is there."""
    try:
        noted = posix.readlink(pins.origin_of(kept))
    except OSError:
        return False
    return noted != transcript and transcripts.exists(noted)


def _note_origin(kept: str, transcript: str) -> None:
    if not transcript.startswith("/"):
        transcript = f"{posix.getcwd()}/{transcript}"
    pins.note(pins.origin_of(kept), transcript)


def note_start(store: str, session_id: str) -> None:
    """Note where a conversation that starts now will be, so that other accounts find it."""
    project = transcripts.this_project()
    if project is None:
        return  # housekeeping will find it
    transcript = f"{project}/{session_id}{transcripts.ENDING}"
    try:
        if transcripts.is_temporary(transcript):
            from shim.retention import config_directories

            transcript = config_directories.link_new(transcript)
        _note_origin(pins.path(store, session_id), transcript)
    except OSError as problem:
        explain(f"where the conversation starts is not noted: {problem.strerror}")


def can_be_restored(store: str, session_id: str) -> bool:
    """Whether another account has the conversation, or it is kept, and is to be put back.

    Raises OSError.
    """
    if not _can_be_elsewhere(store, session_id):
        return False
    from shim.retention import config_directories, restoring

    is_elsewhere = config_directories.elsewhere(store, session_id) is not None
    return is_elsewhere or restoring.restore_target(store, session_id) is not None


def begin_restore(store: str, session_id: str) -> bool:
    """Have a kept conversation put back whose transcript is of no use.

    Returns whether it is the compressed copy that takes its place. Raises OSError.
    """
    if not pins.is_pinned(store, session_id):
        return False
    from shim.retention import restoring

    return restoring.begin_restore(store, session_id)


def restore(store: str, session_id: str) -> "Transcript | None":
    """The transcript that is not in this account: another account's, or put back.

    Of one that a person deleted, the kept file goes too. Raises OSError where it cannot be put
    back: it stays kept then.
    """
    if not _can_be_elsewhere(store, session_id):
        return None
    from shim.retention import config_directories

    return config_directories.restore(store, session_id)


def copy_sidecars(transcript: str, fork: str) -> None:
    """Give a fork what its parent's subagents said."""
    if transcripts.exists(transcripts.sidecars_of(transcript)):
        from shim.retention import sidecars

        try:
            sidecars.copy_to_fork(transcript, fork)
        except OSError as problem:
            explain(f"the fork has not its parent's subagents: {problem.strerror}")


def unpin(store: str, session_id: str) -> None:
    """Keep a conversation no longer. Its transcript stays where it is. Raises OSError."""
    from shim.retention import restoring

    restoring.drop(store, session_id)


def _can_be_elsewhere(store: str, session_id: str) -> bool:
    """Whether the conversation is kept, or was last in another account."""
    if pins.is_pinned(store, session_id):
        return True
    try:
        noted = posix.readlink(pins.origin_of(pins.path(store, session_id)))
    except OSError:
        return False
    return not noted.startswith(transcripts.config_directory() + "/")
