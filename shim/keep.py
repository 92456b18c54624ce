"""Conversations outlive claude's own clean-up: hard links to transcripts, in `kept` at the store.

`kept/<session id>.jsonl` is the transcript itself under a second name: it costs nothing, grows with
the conversation, and is still there when claude has deleted the first (FACTS.md, "clean-up").
`kept/<session id>.from` is a symbolic link that says where the first name was.
"""

import posix
import time

from shim import environment, transcripts
from shim.report import explain, warn

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

    from shim.transcripts import Transcript

FOLDER: "Final" = "kept"
STAMP: "Final" = "housekeeping"
"""Its time is when housekeeping was last started."""

_DAY = 86400.0
_DAYS = 365.0


def days() -> float:
    """`NSED_KEEP_DAYS`: for how many idle days a conversation is kept. 0 keeps nothing."""
    text = environment.get("NSED_KEEP_DAYS")
    if not text:
        return _DAYS
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not number >= 0:
        warn(f"NSED_KEEP_DAYS={text} is no number of days: {_DAYS:g} is taken")
        return _DAYS
    return number


def path(store: str, session_id: str) -> str:
    """Where a conversation is kept, if it is."""
    return f"{store}/{FOLDER}/{session_id}.jsonl"


def origin_of(kept: str) -> str:
    """What says where a kept file's transcript was."""
    return kept.removesuffix(".jsonl") + ".from"


def is_kept(store: str, session_id: str) -> bool:
    """Whether the conversation has a kept file."""
    try:
        posix.lstat(path(store, session_id))
    except OSError:
        return False
    return True


def hold(store: str, session_id: str, transcript: "Transcript") -> bool:
    """Keep the transcript of a conversation that goes on now; return whether it is still there.

    One that has been idle for a day counts as written now: else a claude could take it from under
    the one that resumes it, before that writes its first turn.
    """
    kept = path(store, session_id)
    try:
        posix.lstat(kept)
    except OSError:
        if days():
            _link(kept, transcript.path)
    if time.time() - transcript.written < _DAY:
        return True
    try:
        posix.utime(transcript.path)
        posix.utime(kept)  # where it is a copy
    except FileNotFoundError:
        return transcripts.exists(transcript.path)
    except OSError as problem:
        explain(f"{transcript.path} keeps its time: {problem.strerror}")
    return True


def _link(kept: str, transcript: str) -> None:
    """Link a transcript that is not kept yet; what fails here, housekeeping does."""
    try:
        _note_origin(kept, transcript)
        posix.link(transcript, kept)
    except OSError as problem:
        explain(f"{transcript} is not linked: {problem.strerror}")


def _note_origin(kept: str, transcript: str) -> None:
    # Before the kept file is there: one without an origin could not be put back.
    note = origin_of(kept)
    if not transcript.startswith("/"):
        transcript = f"{posix.getcwd()}/{transcript}"
    try:
        posix.symlink(transcript, note)
    except FileNotFoundError:
        folder = kept.rpartition("/")[0]
        posix.mkdir(folder)
        posix.chmod(folder, 0o700)  # whatever the umask
        posix.symlink(transcript, note)
    except FileExistsError:
        posix.unlink(note)  # it is of one that was kept before
        posix.symlink(transcript, note)


def put_back(store: str, session_id: str) -> bool:
    """Put back a conversation that claude's clean-up took; return whether it did.

    Of one that a person deleted, the kept file goes too.
    """
    if not is_kept(store, session_id):
        return False
    from shim import kept

    try:
        return kept.put_back(store, session_id)
    except OSError as problem:
        warn(f"the kept conversation {session_id} cannot be put back: {problem.strerror}")
        return False


def forget(store: str, session_id: str) -> None:
    """Keep a conversation no longer. Its transcript stays where it is. Raises OSError."""
    from shim import kept

    kept.drop(store, session_id)


def note_housekeeping(store: str) -> None:
    """Note that housekeeping is being done now. Raises OSError."""
    stamp = f"{store}/{STAMP}"
    posix.close(posix.open(stamp, posix.O_WRONLY | posix.O_CREAT, 0o600))
    posix.utime(stamp)


def housekeep(store: str) -> None:
    """Start the daily housekeeping, where it was not started within a day."""
    try:
        age = time.time() - posix.stat(f"{store}/{STAMP}").st_mtime
    except OSError:
        age = _DAY
    if not -_DAY < age < _DAY:
        from shim import detaching

        detaching.start_housekeeping(store)
