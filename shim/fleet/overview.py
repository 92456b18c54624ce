"""The fleet as subcommands and `doctor` see it: rooms, hosts, and what is not stored yet."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

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


_Part = TypeVar("_Part", LocalConversation, RemoteClaude, FailedFlush)


@dataclass(frozen=True)
class Status:
    """What a sync daemon reports of itself, of the backend and of both sides of the fleet."""

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
    answer = _answer(daemon_client.ask(store, "status"))
    return Status(
        answer["pid"],
        _seconds(answer["since"]),
        answer["hostname"],
        answer["engine"],
        tuple(_built(LocalConversation, each) for each in answer["conversations"]),
        tuple(_built(RemoteClaude, each, since=each["since"]) for each in answer["elsewhere"]),
        tuple(_built(FailedFlush, each, when=each["when"]) for each in answer["failed_flushes"]),
    )


def rooms(store: str) -> dict[tuple[str, str], Room]:
    """All rooms and agents that the fleet knows. Raises Failure."""
    answer = _answer(daemon_client.ask(store, "rooms"))
    found = (
        Room(
            each["room"],
            each["agent"],
            each["session_id"],
            each["hostname"],
            each["host"] == answer["this"],
            _seconds(each["since"] or each["moved"]),
            tuple(each["earlier"]),
            tuple(each.get("forks", ())),
        )
        for each in answer["rooms"]
    )
    return {(each.room, each.agent): each for each in found}


def unreadable(store: str) -> int:
    """How many of the fleet's conversations this host could not read. Raises Failure."""
    return int(_answer(daemon_client.ask(store, "rooms"))["unreadable"])


def copy(store: str, session_id: str, path: str, after: int = 0) -> int:
    """Write a conversation's transcript as the fleet has it into a file, to be read here.

    Given what the last call for that file returned, only what is new is fetched. Raises Failure.
    """
    said = daemon_client.ask(store, "copy", session_id=session_id, path=path, after=after)
    return int(_answer(said)["sequence"])


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


def _answer(answer: Message) -> Message:
    if answer["answer"] == "alone":
        raise Alone(answer["why"])
    return answer


def _built(made: type[_Part], message: Message, **times: str) -> _Part:
    """A part of the status from the fields of a message that have the names of its own.

    `times` are the fields that are moments, as RFC 3339.
    """
    values = {**message, **{name: _seconds(moment) for name, moment in times.items()}}
    return made(**{each.name: values[each.name] for each in fields(made)})


def _seconds(stamp: str) -> float:
    return (stamps.nanoseconds(stamp) or 0) / _NANOSECONDS
