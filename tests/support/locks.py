"""A lease as tests take it: on a descriptor of its own, which no program they start gets."""

import os

from shim.base.session_key import SessionKey
from shim.locks.record_lock import Lock, key_offset, open_lock_file


def lock_of_key(directory: str, key: SessionKey) -> Lock:
    """The lease of a key, not taken yet."""
    file = open_lock_file(directory)
    os.set_inheritable(file, False)
    return Lock(file, key_offset(key.room, key.agent))
