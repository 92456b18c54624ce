"""The fleet as subcommands and `doctor` see it: rooms, hosts, and what is not stored yet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shim.base import stamps
from shim.base.messages import Failure
from shim.fleet import daemon_client

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shim.fleet.protocol import Message

_NANOSECONDS = 1_000_000_000


class Alone(Failure):
    """The fleet cannot be reached; the message says why."""


@dataclass(frozen=True)
class Room:
    """A room and agent that the fleet knows, and their conversation."""

    room: str
    agent: str
    session_id: str
    hostname: str | None
    """Where a claude had it last, if one had."""
    is_here: bool
    """Whether that is this host."""
    used: float
    """When one had it last, else when it was moved, in seconds of the system's clock."""
    earlier: tuple[str, ...]
    """The conversations it had before, the newest last."""
    forks: tuple[str, ...] = ()
    """The conversations of other hosts that the head may lack turns of, the newest last."""


@dataclass(frozen=True)
class RemoteClaude:
    """A claude that runs on another host."""

    room: str
    agent: str
    session_id: str
    hostname: str
    pid: int
    kind: str
    since: float


@dataclass(frozen=True)
class LocalConversation:
    """A conversation that the sync daemon of this host follows, or has yet to send."""

    room: str
    agent: str
    session_id: str
    pid: int
    """The claude that is live on it; 0 where none is any more."""
    kind: str
    behind: int
    """Bytes that are not in the fleet yet."""
    is_fenced: bool
    """Whether another host has it now: what this claude adds goes to a fork."""
    fork: str | None


@dataclass(frozen=True)
class FailedFlush:
    """A turn whose answer was seen before the fleet had it."""

    room: str
    agent: str
    session_id: str
    when: float
    why: str


@dataclass(frozen=True)
class Status:
    """What a sync daemon says of itself, of the backend and of both sides of the fleet."""

    pid: int
    since: float
    hostname: str
    backend: Mapping[str, Any]
    """As the protocol has it."""
    here: tuple[LocalConversation, ...]
    elsewhere: tuple[RemoteClaude, ...]
    failed: tuple[FailedFlush, ...]
    """Of late, the newest last."""

    @property
    def behind(self) -> int:
        """Bytes that are not in the fleet yet."""
        return sum(each.behind for each in self.here)


def status(store: str) -> Status:
    """How this host stands to the fleet; starts the sync daemon. Raises Failure."""
    said = _answer(daemon_client.ask(store, "status"))
    return Status(
        said["pid"],
        _seconds(said["since"]),
        said["hostname"],
        said["engine"],
        tuple(_following(each) for each in said["conversations"]),
        tuple(_running(each) for each in said["elsewhere"]),
        tuple(_failed(each) for each in said["failed_flushes"]),
    )


def rooms(store: str) -> dict[tuple[str, str], Room]:
    """All rooms and agents that the fleet knows. Raises Failure."""
    said = _answer(daemon_client.ask(store, "rooms"))
    found = (
        Room(
            each["room"],
            each["agent"],
            each["session_id"],
            each["hostname"],
            each["host"] == said["this"],
            _seconds(each["since"] or each["moved"]),
            tuple(each["earlier"]),
            tuple(each.get("forks", ())),
        )
        for each in said["rooms"]
    )
    return {(each.room, each.agent): each for each in found}


def unreadable(store: str) -> int:
    """How many of the fleet's conversations this host could not read. Raises Failure."""
    return int(_answer(daemon_client.ask(store, "rooms"))["unreadable"])


def move_head(store: str, room: str, agent: str, session_id: str) -> None:
    """Map a room and agent to a conversation on every host. Raises Failure."""
    _answer(daemon_client.ask(store, "head", room=room, agent=agent, session_id=session_id))


def delete(store: str, session_id: str) -> None:
    """Delete a conversation from the fleet's servers. Raises Failure."""
    _answer(daemon_client.ask(store, "drop", room="", agent="", session_id=session_id))


def stop(store: str) -> bool:
    """End the sync daemon of a store; whether there was one."""
    try:
        daemon_client.ask(store, "stop", starts=False)
    except daemon_client.Unanswered:
        return False
    return True


def _answer(said: Message) -> Message:
    if said["answer"] == "alone":
        raise Alone(said["why"])
    return said


def _following(said: Message) -> LocalConversation:
    return LocalConversation(
        said["room"],
        said["agent"],
        said["session_id"],
        said["pid"],
        said["kind"],
        said["behind"],
        said["is_fenced"],
        said["fork"],
    )


def _running(said: Message) -> RemoteClaude:
    return RemoteClaude(
        said["room"],
        said["agent"],
        said["session_id"],
        said["hostname"],
        said["pid"],
        said["kind"],
        _seconds(said["since"]),
    )


def _failed(said: Message) -> FailedFlush:
    return FailedFlush(
        said["room"], said["agent"], said["session_id"], _seconds(said["when"]), said["why"]
    )


def _seconds(stamp: str) -> float:
    return (stamps.nanoseconds(stamp) or 0) / _NANOSECONDS
