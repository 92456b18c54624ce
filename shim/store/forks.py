"""Of each fork, which conversation it was made of: that goes on while nothing was said in the fork.

A file `forks/<session id of the fork>` beside the store holds the other session id. Who made the
fork writes it, before claude runs it.
"""

from shim.base import files
from shim.base.messages import Failure, explain
from shim.base.session_key import is_session_id
from shim.store import markers
from shim.store.markers import FORKS


def note(store: str, fork: str, parent: str) -> None:
    """Note of which conversation a fork is. Where that fails, the fork has no parent."""
    try:
        files.make_directory(f"{store}/{FORKS}")
        files.write_new(markers.path(store, FORKS, fork), parent.encode())
    except FileExistsError:
        return
    except (OSError, Failure) as problem:
        explain(f"of what {fork} is a fork cannot be noted: {problem}")


def parent(store: str, fork: str) -> str | None:
    """The session id of the conversation that a fork is of; None where that is not known."""
    named = markers.content(store, FORKS, fork)
    return named if is_session_id(named) else None
