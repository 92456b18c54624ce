"""A lease as tests take it: on a descriptor of its own, which no program they start gets."""

import os

from shim.base.session_key import SessionKey
from shim.lease.lease import Lease, open_leases, start_of


def lease_of(directory: str, key: SessionKey) -> Lease:
    """The lease of a key, not taken yet."""
    file = open_leases(directory)
    os.set_inheritable(file, False)
    return Lease(file, start_of(key.room, key.agent))
