"""What the fleet forgets by itself: conversations that nobody has used for longer than is kept.

`NSED_KEEP_DAYS` says for how long; where that is 0, claude's own clean-up period counts, after
which no host has a copy of its own. Days are those of the backend's clock.
"""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING

from shim.base import stamps, times
from shim.base.messages import explain
from shim.claude import cleanup, transcripts
from shim.fleet import rooms
from shim.fleet.log import Held, Log
from shim.retention import pins

if TYPE_CHECKING:
    from shim.fleet.backend import Backend
    from shim.fleet.host import Host

_STAMP = "retention"
_NANOSECONDS = 1e9


def is_due(directory: str) -> bool:
    """Whether a day has passed since this host looked; from then on it has.

    Where it never has, the first day begins now: a container that lives for one call never looks.
    """
    return times.is_due(f"{directory}/{_STAMP}")


def days() -> float:
    """For how many days a conversation is kept after its last use."""
    anywhere = f"{transcripts.config_directory()}/projects/any/any.jsonl"
    return pins.days() or cleanup.period(anywhere)


async def forget(backend: Backend, this_host: Host, kept_days: float) -> set[str]:
    """Delete what is too old, and return the session ids. Raises Unavailable, Hostile."""
    oldest = await backend.now() - kept_days * times.DAY
    holders = await backend.holders()
    # What cannot be read here is other people's to forget.
    doomed = [name for name, (who, when) in holders.items() if who and _seconds(when) < oldest]
    gone = {name for name in doomed if await _forget_one(backend, this_host, name, oldest)}
    for room in await backend.rooms():
        has_none = room["session_id"] not in holders or room["session_id"] in gone
        if has_none and _seconds(str(room["moved"])) < oldest:
            await rooms.drop(backend, str(room["room"]), str(room["agent"]), room)
    return gone


async def _forget_one(backend: Backend, this_host: Host, conversation: str, oldest: float) -> bool:
    """Delete a conversation, unless a host has it or has used it meanwhile; whether it is gone.

    It is taken first, in the name of a host that does not live: whoever wants it as well is refused
    until it is gone, and a sync daemon that is killed in between leaves nothing behind.
    """
    last = await backend.last(conversation)
    if last is None or _seconds(last.time) >= oldest:
        return False
    log = Log(backend, conversation, dataclasses.replace(this_host, host=secrets.token_hex(16)))
    try:
        await log.acquire(0, "")
    except Held:
        return False
    if log.generation != last.record.generation + 1:
        await log.release()  # another host has used it in between
        return False
    await backend.purge(conversation, log.sequence + 1)
    explain(f"{conversation} was last used in {last.time}: the fleet has forgotten it")
    return True


def _seconds(stamp: str) -> float:
    return (stamps.nanoseconds(stamp) or 0) / _NANOSECONDS
