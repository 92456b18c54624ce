"""Whether Claude Code's registry of what runs mentions a conversation: a look, without a parse."""

import posix

from shim.base import files
from shim.claude.transcripts import config_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator


def is_there(session_id: str) -> bool:
    """Whether a claude may be live on a conversation, or about to be: `registry.live_on` knows."""
    named = session_id.encode()
    return any(named in content for content in contents()) or is_job(session_id)


def is_job(session_id: str) -> bool:
    """Whether there is a job of claude's background service that a conversation may be of."""
    return posix.access(f"{config_directory()}/jobs/{session_id[:8]}", posix.F_OK)


def contents() -> "Iterator[bytes]":
    """What each file of the registry holds, `sessions/<pid>.json` in the config directory."""
    directory = config_directory() + "/sessions"
    try:
        names = posix.listdir(directory)
    except OSError:
        return
    # Beside an entry can be a key: `<pid>.<64 digits>.key`.
    for name in names:
        if name.endswith(".json"):
            yield files.read(f"{directory}/{name}")
