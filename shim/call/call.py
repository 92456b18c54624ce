"""One call of claude with a session key: what each step fills in, and later ones read."""

from shim.claude import transcripts
from shim.locks.record_lock import ACQUIRED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.base.session_key import SessionKey
    from shim.claude.invocation import Invocation
    from shim.claude.transcripts import Transcript


class Call:
    """One call, from its session key and the caller's arguments on.

    `explicit_id` is the session id that the caller chose, if any. `moves_head` says whether the
    conversation becomes the one that the session key maps to.

    `stored_id` is what the store maps the key to. `session_id` is the conversation to resume or to
    begin, and `outcome` what the locks allow with it; where that is a fork of the head, the fork
    becomes the `session_id`. `transcript` is what `locate` finds, and
    `unusable` are the files in its place that claude can neither resume nor replace. `plugins` are
    the directories of our plugins for this run, and `title` names a fork to a person, if any.
    """

    __slots__ = (
        "_located",
        "explicit_id",
        "invocation",
        "key",
        "moves_head",
        "outcome",
        "plugins",
        "session_id",
        "stored_id",
        "title",
        "transcript",
        "unusable",
    )

    def __init__(
        self,
        key: "SessionKey",
        invocation: "Invocation",
        explicit_id: str | None = None,
        moves_head: bool = True,
    ) -> None:
        self.key = key
        self.invocation = invocation
        self.explicit_id = explicit_id
        self.moves_head = moves_head
        self.stored_id: str | None = None
        self.session_id = explicit_id or ""
        self.outcome = ACQUIRED
        self.transcript: Transcript | None = None
        self.unusable: list[str] = []
        self.plugins: list[str] = []
        self.title: str | None = None
        self._located = ""

    @property
    def is_explicit(self) -> bool:
        """Whether the caller chose the conversation by its session id."""
        return bool(self.explicit_id)

    def locate(self) -> None:
        """Find the transcript of `session_id`, once for each. Raises OSError."""
        if self._located != self.session_id:
            self.transcript, self.unusable = transcripts.find(self.session_id)
            self._located = self.session_id

    def forget_location(self) -> None:
        """Have `locate` look again: another claude, or another host, may have written since."""
        self._located = ""
