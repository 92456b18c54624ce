"""A lock as tests acquire it: on a descriptor of its own, which no program they start inherits."""

import os

from shim.base.session_key import SessionKey
from shim.locks import contention
from shim.locks.record_lock import Holder, Lock, key_offset, open_lock_file


def lock_of_key(directory: str, key: SessionKey) -> Lock:
    """The lock of a key, not acquired yet."""
    file = open_lock_file(directory)
    os.set_inheritable(file, False)
    return Lock(file, key_offset(key.room, key.agent))


class Always(contention.WaitPolicy):
    """It is always worth waiting."""

    def __init__(self) -> None:
        pass

    def allows(self, holder: Holder | None, waited: float) -> bool:
        """It is."""
        return True


def wait_for_key(
    directory: str, key: SessionKey, policy: contention.WaitPolicy | None = None
) -> bool:
    """Wait for the lock of a key; whether it was acquired."""
    contended = contention.LocalLock(lock_of_key(directory, key), False, lambda: "")
    return contention.wait_for(contended, policy or Always())
