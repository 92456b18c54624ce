"""What each call does so that its conversation outlives claude's clean-up.

A transcript that is there and kept costs a call two looks; all else is loaded late.
"""

import posix
import time

from shim.base.messages import explain
from shim.claude import transcripts
from shim.keep import folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from os import stat_result

    from shim.claude.transcripts import Transcript

_DAY = 86400.0
_OWNER_WRITES = 0o200


def hold(store: str, session_id: str, transcript: "Transcript", is_ours: bool) -> bool:
    """Keep the transcript of a conversation that goes on now; return whether it is still there.

    One that has been idle for half a day counts as written now: else a claude could clean it up
    before the one that resumes it writes its first turn. `is_ours` says that nobody writes it.
    """
    kept = folder.path(store, session_id)
    try:
        status = posix.lstat(kept)
    except OSError:
        if folder.days():
            _link(kept, transcript.path)
    else:
        if is_ours and _is_another(status, transcript.status):
            _join(store, session_id, transcript.path)
    if time.time() - transcript.status.st_mtime < _DAY / 2:
        return True
    try:
        posix.utime(transcript.path)
        posix.utime(kept)  # where it is a copy
    except FileNotFoundError:
        return transcripts.exists(transcript.path)
    except OSError as problem:
        explain(f"{transcript.path} keeps its time: {problem.strerror}")
    return True


def _is_another(kept: "stat_result", transcript: "stat_result") -> bool:
    """Whether the kept file is no link to the transcript, and no copy, which may be behind."""
    is_link = kept.st_mode & _OWNER_WRITES
    return kept.st_ino != transcript.st_ino and bool(is_link or kept.st_size > transcript.st_size)


def _join(store: str, session_id: str, transcript: str) -> None:
    from shim.keep import putting_back

    try:
        putting_back.join(store, session_id, transcript)
    except OSError as problem:
        explain(f"{transcript} stays without what is kept: {problem.strerror}")


def _link(kept: str, transcript: str) -> None:
    """Link a transcript that is not kept yet; what fails here, housekeeping does."""
    try:
        _note_origin(kept, transcript)
        posix.link(transcript, kept)
    except OSError as problem:
        explain(f"{transcript} is not linked: {problem.strerror}")


def _note_origin(kept: str, transcript: str) -> None:
    # Before the kept file is there: one without an origin could not be put back.
    note = folder.origin_of(kept)
    if not transcript.startswith("/"):
        transcript = f"{posix.getcwd()}/{transcript}"
    try:
        posix.symlink(transcript, note)
    except FileNotFoundError:
        directory = kept.rpartition("/")[0]
        posix.mkdir(directory)
        posix.chmod(directory, 0o700)  # whatever the umask
        posix.symlink(transcript, note)
    except FileExistsError:
        posix.unlink(note)  # it is of one that was kept before
        posix.symlink(transcript, note)


def can_be_put_back(store: str, session_id: str) -> bool:
    """Whether the conversation is kept, and is to be put back. Raises OSError."""
    if not folder.is_kept(store, session_id):
        return False
    from shim.keep import putting_back

    return putting_back.to_put_back(store, session_id) is not None


def begin_to_put_back(store: str, session_id: str) -> None:
    """Have a kept conversation put back whose transcript is of no use. Raises OSError."""
    if folder.is_kept(store, session_id):
        from shim.keep import putting_back

        putting_back.begin_to_put_back(store, session_id)


def put_back(store: str, session_id: str) -> None:
    """Put back a conversation that claude's clean-up took.

    Of one that a person deleted, the kept file goes too. Raises OSError where it cannot be put
    back: it stays kept then.
    """
    if folder.is_kept(store, session_id):
        from shim.keep import putting_back

        putting_back.put_back(store, session_id)


def forget(store: str, session_id: str) -> None:
    """Keep a conversation no longer. Its transcript stays where it is. Raises OSError."""
    from shim.keep import putting_back

    putting_back.drop(store, session_id)
