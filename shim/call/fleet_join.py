"""Acquiring a conversation on all hosts of a fleet, when this host's own locks are acquired.

Whatever the fleet cannot do is one warning, and the conversation is resumed on this host alone.
"""

import posix

from shim.base.messages import Failure, explain, warn
from shim.claude import transcripts
from shim.fleet import daemon_client
from shim.locks.record_lock import ACQUIRED, Holder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    from shim.call.call import Call
    from shim.claude.invocation import Invocation
    from shim.fleet.protocol import Message
    from shim.locks.contention import Contended

    class Locks(Protocol):
        """What is needed of the effects of that name, which import this module."""

        def acquire_conversation(self, call: Call) -> None:
            """Acquire the lock of the conversation on this host."""

        def resolve(self, call: Call, contended: Contended) -> None:
            """Decide what to do about another claude."""

    class Retention(Protocol):
        """What is needed of the effects of that name."""

        @property
        def store_directory(self) -> str:
            """The store's directory."""

        def pin(self, call: Call) -> None:
            """Pin the transcript, or restore it."""


ONE_SHOT: "Final" = "one-shot"
_ANSWERS = ("granted", "other", "busy")
# Milliseconds for which one question waits for another host: between two, this side looks at the
# clock.
_WAITS = 250


def join(call: "Call", locks: "Locks", retention: "Retention") -> None:
    """Acquire the conversation of a call on all hosts, or the one that the room has instead.

    Exits 75 where it is busy and `NSED_ON_BUSY=fail`.
    """
    hosts = _Hosts(call, retention)
    try:
        while True:
            if not hosts.try_acquire():
                locks.resolve(call, hosts)
            if call.outcome != ACQUIRED or hosts.answer["answer"] != "other":
                break
            call.session_id = hosts.answer["session_id"]
            explain(f"the fleet has conversation {call.session_id} for {call.key}")
            hosts.is_settled = True
            locks.acquire_conversation(call)
            if call.outcome != ACQUIRED:
                return
    except Failure as problem:
        warn(f"running without the fleet: {problem}")
        return
    call.forget_location()  # what other hosts said may be in the transcript now
    if call.outcome == ACQUIRED and hosts.answer.get("was_late"):
        warn(f"the last turn was seen before other hosts had it: {hosts.answer['was_late']}")


class _Hosts:
    """The conversation of a call on all hosts; `answer` is what the sync daemon last said of it.

    With `is_settled` the room has no say in which conversation it is.
    """

    pause = 0.0  # the daemon waits

    def __init__(self, call: "Call", retention: "Retention") -> None:
        self.answer: Message = {}
        self.is_settled = call.is_explicit
        self._call = call
        self._retention = retention
        self._waits = 0

    def holder(self) -> Holder:
        """Who has it on another host."""
        return Holder(0, is_long_running=self.answer["kind"] != ONE_SHOT)

    def is_mid_turn(self, holder: Holder) -> bool:
        """Whether the other host's turn was under way at the last answer."""
        return bool(self.answer["is_answering"])

    def describe(self, holder: Holder | None) -> str:
        """The holder, as a message names it."""
        return f"a claude on {self.answer['hostname']}"

    def leave_queue(self) -> None:
        """Nothing: the daemon has no queue."""

    def try_acquire(self) -> bool:
        """Ask the sync daemon for the conversation; whether no other host is in the way.

        Raises Failure where the fleet is of no use now.
        """
        call = self._call
        call.locate()
        if call.transcript is None and not call.unusable:
            self._retention.pin(call)
        paths = [call.transcript.path] if call.transcript else call.unusable
        self.answer = daemon_client.ask(
            self._retention.store_directory,
            "begin",
            room=call.key.room,
            agent=call.key.agent,
            pid=posix.getpid(),
            kind=_kind(call.invocation),
            session_id=call.session_id,
            transcript=paths[0] if paths else _new_transcript(call.session_id),
            is_chosen=self.is_settled,
            moves_head=call.moves_head,
            waits=self._waits,
        )
        self._waits = _WAITS
        if self.answer["answer"] == "alone":
            raise Failure(self.answer["why"])
        if self.answer["answer"] not in _ANSWERS:
            raise Failure("the sync daemon is of a newer claude-shim: update this one")
        taken = self.answer.get("space_taken")
        if taken:
            warn(
                f"{taken} of the fleet's space for conversations is taken: see `claude-shim doctor`"
            )
        return bool(self.answer["answer"] != "busy")


def _kind(invocation: "Invocation") -> str:
    if invocation.is_streaming:
        return "streaming"
    return "interactive" if invocation.is_interactive else ONE_SHOT


def _new_transcript(session_id: str) -> str:
    """Where the transcript of a conversation that is not on this host will be."""
    project = transcripts.this_project()
    if project is None:
        # Claude's own name for it is not known: it is resumed by its path.
        project = f"{transcripts.projects_directory()}/elsewhere"
    if not project.startswith("/"):
        project = f"{posix.getcwd()}/{project}"
    return f"{project}/{session_id}{transcripts.ENDING}"
