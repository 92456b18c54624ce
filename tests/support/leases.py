"""Leases as tests take them: each on a descriptor of its own."""

from shim.base.session_key import SessionKey
from shim.lease.lease import Lease, open_leases, start_of, start_of_conversation


def lease_of(directory: str, key: SessionKey) -> Lease:
    """The lease of a key, not taken yet."""
    return Lease(open_leases(directory), start_of(key.room, key.agent))


def lease_of_conversation(directory: str, session_id: str) -> Lease:
    """The lease of a conversation, not taken yet."""
    return Lease(open_leases(directory), start_of_conversation(session_id))
