"""Forks of a room across hosts: their files are fetched before a call of their head.

The call then appends the turns that the head lacks, as it does with forks of its own host, and the
head's log gets them. A fork is closed once the head has all of it (help developing, "A conversation
in the fleet").
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from shim.base.messages import Failure, explain
from shim.claude import transcripts
from shim.fleet import forking, rooms
from shim.fleet.backend import Unavailable
from shim.fleet.notes import ForkState, State
from shim.fleet.records import Hostile
from shim.fleet.snapshots import DamagedLog
from shim.forks import catching_up, fork_marker

if TYPE_CHECKING:
    from collections.abc import Collection

    from shim.fleet.backend import Backend
    from shim.fleet.conversation import FleetConversation
    from shim.fleet.host import Host
    from shim.fleet.rooms import Fork

_PROBLEMS = (Unavailable, DamagedLog, Hostile, OSError, Failure)
_LONGEST_NAME = 60


async def fetch(store: str, its: FleetConversation, asking: FleetConversation, fork: Fork) -> None:
    """Fetch a fork for a conversation that lacks its turns: its head, or another fork of that.

    What cannot be fetched now stays open, and never keeps a call from its conversation. The caller
    holds the `lock` of the fork.
    """
    _place_beside(its, asking)
    try:
        sequence = await its.fetch()
        its.note.fork_of = fork.of
        forking.mark(store, its.note, its.transcript, _by(fork))
    except _PROBLEMS as problem:
        explain(f"fork {fork.session_id} is not fetched: {problem}")
        return
    # A log that is gone has nothing to get.
    if fork.of == asking.session_id:
        asking.fetched_forks[fork.session_id] = sequence or fork.until


async def fetch_head(its: FleetConversation, fork: FleetConversation) -> None:
    """Fetch the head of a fork, so that the claude on the fork is notified of its turns.

    The caller holds the `lock` of the head.
    """
    _place_beside(its, fork)
    try:
        await its.fetch()
    except _PROBLEMS as problem:
        explain(f"head {its.session_id} is not fetched: {problem}")


def _place_beside(its: FleetConversation, other: FleetConversation) -> None:
    """Where a conversation has no transcript here yet, have it beside another one's."""
    if not its.transcript:
        directory = os.path.dirname(other.transcript)
        its.transcript = f"{directory}/{its.session_id}{transcripts.ENDING}"


def head_of(store: str, session_id: str) -> str:
    """The conversation that one is a fork of, or itself."""
    marker = fork_marker.of_fork(store, session_id)
    return marker.of if marker is not None and not marker.is_over else session_id


async def share(
    backend: Backend, this_host: Host, store: str, conversation: FleetConversation
) -> None:
    """List a conversation that is a fork, and close those that it has all of, as a head.

    The caller holds the conversation's `lock`, and has just synced it. Raises Unavailable.
    """
    note = conversation.note
    if not (note.room or note.agent):
        return
    if note.state is State.FENCED and note.fork and conversation.log.data_sequence > note.listed:
        await _list(backend, this_host, conversation, note.fork)
    if note.fork_state is None and conversation.has_synced:
        marker = fork_marker.of_fork(store, note.session_id)
        if marker is not None and not marker.is_over:
            note.fork_of, note.fork_state = marker.of, ForkState.STORED
    if note.fork_state is ForkState.STORED:
        await _list(backend, this_host, conversation, note.session_id)
        note.fork_state = ForkState.LISTED
    if conversation.fetched_forks and conversation.has_synced and conversation.lag() == 0:
        await _close(backend, store, conversation)


async def _list(
    backend: Backend, this_host: Host, conversation: FleetConversation, session_id: str
) -> None:
    note, until = conversation.note, conversation.log.sequence
    await rooms.list_fork(backend, this_host, note, session_id, until)
    note.listed = until


async def _close(backend: Backend, store: str, head: FleetConversation) -> None:
    fetched = dict(head.fetched_forks)
    try:
        known = await asyncio.to_thread(_known, store, head.session_id, fetched)
    except _PROBLEMS as problem:
        explain(f"what {head.session_id} lacks of its forks is unknown: {problem}")
        return
    if known:
        await rooms.close_forks(backend, head.note, {fork: fetched[fork] for fork in known})
        for fork in known:
            head.fetched_forks.pop(fork, None)


def _known(store: str, head: str, forks: Collection[str]) -> set[str]:
    """The forks of which a conversation has all finished turns. Raises OSError."""
    lacking = {transcripts.session_id_of(turn.path) for turn in catching_up.lacking(store, head)}
    return {fork for fork in forks if fork not in lacking and _is_of(store, fork, head)}


def _is_of(store: str, fork: str, head: str) -> bool:
    """Whether a fork was compared with this head; one without a transcript has no marker."""
    marker = fork_marker.of_fork(store, fork)
    return marker is None or marker.of == head


def _by(fork: Fork) -> str:
    """The host of a fork, as a notice names it: another host wrote it."""
    name = "".join(it for it in fork.hostname if it.isalnum() or it in ".-_")
    return f"a claude on {name[:_LONGEST_NAME]}"
