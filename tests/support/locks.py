"""A lease as tests take it: on a descriptor of its own, which no program they start gets."""

import os

from shim.base.session_key import SessionKey
from shim.locks.record_lock import Lock, open_lock_file, start_of


def lease_of(directory: str, key: SessionKey) -> Lock:
    """The lease of a key, not taken yet."""
    file = open_lock_file(directory)
    os.set_inheritable(file, False)
    return Lock(file, start_of(key.room, key.agent))
