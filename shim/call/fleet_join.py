"""Taking a conversation on all hosts of a fleet, when this host's own leases are taken.

Whatever the fleet cannot do is one warning, and the conversation goes on here alone.
"""

import posix
import time

from shim.base import environment
from shim.base.messages import Failure, explain, warn
from shim.claude import transcripts
from shim.fleet import daemon_client
from shim.locks.record_lock import ACQUIRED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final, Protocol

    from shim.base.session_key import SessionKey
    from shim.claude.invocation import Invocation
    from shim.claude.transcripts import Transcript
    from shim.fleet.protocol import Message
    from shim.locks.contention import WaitPolicy
    from shim.locks.record_lock import Holder
    from shim.store.store import Store

    class Effects(Protocol):
        """What a call does to the world, as far as it is needed here."""

        store: "Store | None"

        def turn_of_conversation(
            self, key: SessionKey, asked: Invocation, session_id: str, is_explicit: bool
        ) -> str:
            """Take a conversation's lease on this host."""

        def keep(
            self, session_id: str, transcript: Transcript | None, is_ours: bool
        ) -> Transcript | None:
            """Keep the transcript, or have it back."""


ONE_SHOT: "Final" = "one-shot"
_ANSWERS = ("granted", "other", "busy")
# Milliseconds for which one question waits for another host: between two, this side looks at the
# clock.
_WAITS = 250


def join(
    effects: "Effects",
    key: "SessionKey",
    asked: "Invocation",
    session_id: str,
    is_explicit: bool,
    moves_head: bool,
) -> tuple[str, str]:
    """The conversation that the room has on all hosts, and what to do with it.

    With `is_explicit`, the caller named the conversation, and the room has no say. `moves_head`
    says that it becomes the room's. Exits 75 where it is busy and `NSED_ON_BUSY=fail`.
    """
    store = effects.store
    if store is None:
        return session_id, ACQUIRED
    joining = _Joining(effects, store.directory, key, asked, is_explicit, moves_head)
    try:
        return joining.take(session_id)
    except Failure as problem:
        warn(f"this conversation goes on here alone: {problem}")
        return joining.session_id, ACQUIRED


class _Joining:
    """One call's way into the fleet; `session_id` is the conversation that it is about."""

    def __init__(
        self,
        effects: "Effects",
        store: str,
        key: "SessionKey",
        asked: "Invocation",
        is_explicit: bool,
        moves_head: bool,
    ) -> None:
        self.session_id = ""
        self._acts = effects
        self._store = store
        self._key = key
        self._asked = asked
        self._is_explicit = is_explicit
        self._moves_head = moves_head

    def take(self, session_id: str) -> tuple[str, str]:
        """Take a conversation, or the one that the room has instead. Raises Failure."""
        self.session_id = session_id
        answer = self._begin()
        if answer["answer"] == "other":
            explain(f"the fleet has conversation {answer['session_id']} for {self._key}")
            self._is_explicit = True
            turn = self._acts.turn_of_conversation(
                self._key, self._asked, answer["session_id"], is_explicit=False
            )
            if turn != ACQUIRED:
                return answer["session_id"], turn
            return self.take(answer["session_id"])
        if answer["answer"] != "busy":
            if answer["was_late"]:
                warn(f"the last turn was seen before other hosts had it: {answer['was_late']}")
            return self.session_id, ACQUIRED
        from shim.locks import contention  # it looks at processes, with what takes long to import

        turn = contention.settle(
            *(self._key, self._asked, self._is_explicit, _holder(answer)),
            self._wait,
            lambda: self.session_id,
        )
        return self.session_id, turn

    def _wait(self, is_worth_it: "WaitPolicy") -> bool:
        """Wait for the claude on another host, while that is worth it."""
        started = time.monotonic()
        holder: Holder | None = None
        while is_worth_it(holder, time.monotonic() - started):
            answer = self._begin(_WAITS)
            if answer["answer"] != "busy":
                return True
            holder = _holder(answer)
        return False

    def _begin(self, waits: int = 0) -> "Message":
        """One question to the courier. Raises Failure where the fleet is of no use now."""
        found, in_the_way = transcripts.find(self.session_id)
        if found is None and not in_the_way:
            found = self._acts.keep(self.session_id, None, is_ours=True)
        paths = [found.path] if found else in_the_way
        answer = daemon_client.ask(
            self._store,
            "begin",
            fleet=environment.get("NSED_FLEET_URL"),
            key_file=environment.get("NSED_FLEET_KEY_FILE"),
            room=self._key.room,
            agent=self._key.agent,
            pid=posix.getpid(),
            kind=_kind(self._asked),
            session_id=self.session_id,
            transcript=paths[0] if paths else _new_transcript(self.session_id),
            is_chosen=self._is_explicit,
            moves_head=self._moves_head,
            waits=waits,
        )
        if answer["answer"] == "alone":
            raise Failure(answer["why"])
        if answer["answer"] not in _ANSWERS:
            raise Failure("the courier is of a newer claude-shim: update this one")
        if answer.get("space_taken"):
            taken = answer["space_taken"]
            warn(
                f"{taken} of the fleet's space for conversations is taken: `claude-shim doctor`"
                " says what to do"
            )
        return answer


def _holder(answer: "Message") -> "Holder":
    from shim.locks.contention import RemoteHolder

    return RemoteHolder(answer["hostname"], answer["kind"] != ONE_SHOT, answer["is_answering"])


def _kind(asked: "Invocation") -> str:
    if asked.is_streaming:
        return "streaming"
    return "interactive" if asked.is_interactive else ONE_SHOT


def _new_transcript(session_id: str) -> str:
    """Where a conversation is to be that is not here yet."""
    project = transcripts.this_project()
    if project is None:
        # Claude's own name for it is not known: it is resumed by its path.
        project = f"{transcripts.projects_directory()}/elsewhere"
    if not project.startswith("/"):
        project = f"{posix.getcwd()}/{project}"
    return f"{project}/{session_id}{transcripts.ENDING}"
