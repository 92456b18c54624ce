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
    from os import stat_result
    from typing import Final

    from shim.transcripts import Transcript

FOLDER: "Final" = "kept"
STAMP: "Final" = "housekeeping"

_DAY = 86400.0
_DAYS = 365.0
_OWNER_WRITES = 0o200


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


def hold(store: str, session_id: str, transcript: "Transcript", is_ours: bool) -> bool:
    """Keep the transcript of a conversation that goes on now; return whether it is still there.

    One that has been idle for half a day counts as written now: else a claude could clean it up
    before the one that resumes it writes its first turn. `is_ours` says that nobody writes it.
    """
    kept = path(store, session_id)
    try:
        status = posix.lstat(kept)
    except OSError:
        if days():
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
    from shim import kept

    try:
        kept.join(store, session_id, transcript)
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


def can_be_put_back(store: str, session_id: str) -> bool:
    """Whether the conversation is kept, and is to be put back. Raises OSError."""
    if not is_kept(store, session_id):
        return False
    from shim import kept

    return kept.to_put_back(store, session_id) is not None


def begin_to_put_back(store: str, session_id: str) -> None:
    """Have a kept conversation put back whose transcript is of no use. Raises OSError."""
    if is_kept(store, session_id):
        from shim import kept

        kept.begin_to_put_back(store, session_id)


def put_back(store: str, session_id: str) -> None:
    """Put back a conversation that claude's clean-up took.

    Of one that a person deleted, the kept file goes too. Raises OSError where it cannot be put
    back: it stays kept then.
    """
    if is_kept(store, session_id):
        from shim import kept

        kept.put_back(store, session_id)


def forget(store: str, session_id: str) -> None:
    """Keep a conversation no longer. Its transcript stays where it is. Raises OSError."""
    from shim import kept

    kept.drop(store, session_id)


def note_housekeeping(store: str) -> None:
    """Note that housekeeping is being done now. Raises OSError."""
    stamp = _stamp(store)
    posix.close(posix.open(stamp, posix.O_WRONLY | posix.O_CREAT, 0o600))
    posix.utime(stamp)


def housekeep(store: str) -> None:
    """Start the daily housekeeping, where it was not started within a day.

    In a store where it never was, the first day begins now.
    """
    try:
        age = time.time() - posix.stat(_stamp(store)).st_mtime
        if not -_DAY < age < _DAY:
            from shim import detaching

            detaching.start_housekeeping(store)
    except FileNotFoundError:
        _begin_first_day(store)
    except OSError as problem:
        explain(f"no housekeeping: {problem.strerror}")


def _begin_first_day(store: str) -> None:
    try:
        note_housekeeping(store)
    except OSError as problem:
        explain(f"no housekeeping: {problem.strerror}")


def _stamp(store: str) -> str:
    """The file whose time is when it was last started, for this directory of claude's."""
    directory = environment.get("CLAUDE_CONFIG_DIR")
    return f"{store}/{STAMP}{transcripts.project_name(directory)}"
