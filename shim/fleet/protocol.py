"""What is said on the socket of a store's sync daemon: version 1, a JSON object a line.

The socket is `daemon` in the store's directory, mode 0600; each side makes sure that the other is
this user's. One connection is one question:

    asked     {"version": 1, "request": R, ...}
    answered  {"answer": "wait"}    at once, and every half second while it is being seen to
              {"answer": A, ...}    the last line

`begin` asks for a conversation before claude runs: `fleet`, `room`, `agent`, `pid`, `kind`,
`session_id` (the one known here, or that the caller chose), `transcript` (where it is, or belongs),
`is_chosen` (the caller named the conversation: the room has no say), `moves_head`, `waits`
(milliseconds for which a conversation that another host has is waited for). Answers: `granted`
(`session_id`, `generation`, `was_late`: why the last turn was not on other hosts when its answer
was seen, or empty; `space_taken`: which part, for one call a day where that is much, or empty),
`other` (`session_id`: the room's, to be asked for in its turn),
`busy` (`hostname`, `kind`, `since`, `is_answering`), `alone` (`why`; `is_noted`: the daemon sends
the turns later, and who asked need not leave the question behind).
`flush` follows from a hook of claude's: `fleet`, `room`, `agent`, `pid`, `event` (what claude told
the hook). It is answered when all up to the turn's answer is in the stream: `done`, or `alone`.
`link` is the same for the start of a turn, which may be another conversation's than before: that
becomes the room's head.
`head` (`room`, `agent`, `session_id`) moves a room's head, `drop` (`room`, `agent`, `session_id`)
forgets the room, and deletes the conversation where one is named. Answers: `done`, `alone`.
`copy` (`session_id`, `path`, `after`) writes a conversation's transcript as the fleet has it into a
file of who asks. Answers: `done` (`sequence`: the next question's `after`, so that only what is new
is fetched), `alone`.
`status` and `rooms` answer what their names say, `stop` ends the sync daemon: `done`.
A line that cannot be understood is answered by `alone`, too.

A sync daemon that is asked in a newer version than its own ends, without an answer: it keeps no
truth, and who asked starts another. Asked in an older one it answers `alone`, or as that version
has it; `stop` is the same in all of them. Within a version, a question or an answer may get more
fields, which who does not know them passes over, and no other meaning.

Every request may name the configuration of who asks: `fleet` (the URL), `key_file`, `creds`, `ca`,
`cert`. A daemon that has another one ends, as for a newer version, where no claude lives on its
conversations; else it answers `alone`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

    Message = dict[str, Any]

VERSION: "Final" = 1
SOCKET: "Final" = "courier"
LONGEST: "Final" = 1 << 26
"""Bytes of a line. What claude tells a hook has the whole answer in it."""

WAIT: "Final" = b'{"answer":"wait"}\n'


class Misunderstood(Exception):
    """A line is no message of this protocol."""


class Superseded(Exception):
    """Who asks speaks a newer version, or has another configuration than an idle daemon."""


def encode(message: "Message") -> bytes:
    """A message as a line. Its values are text, numbers, truth values and None.

    A value that is bytes is JSON already, of one line.
    """
    pairs = (f"{_quoted(name)}:{_value(value)}" for name, value in message.items())
    return ("{" + ",".join(pairs) + "}\n").encode()


def decode(line: bytes) -> "Message":
    """The message of a line. Raises Misunderstood."""
    try:
        message, _ = _scanner()(line.decode(), 0)
    except (ValueError, StopIteration, RecursionError) as problem:
        raise Misunderstood("what is said on the sync daemon's socket is no message") from problem
    if not isinstance(message, dict):
        raise Misunderstood("what is said on the sync daemon's socket is no message")
    return message


def _value(value: object) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, bytes):
        return value.decode()
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def _quoted(text: str) -> str:
    try:
        # A thirtieth of what the `json` module takes to import, which is made of it.
        from _json import encode_basestring_ascii
    except ImportError:
        from json.encoder import encode_basestring_ascii

    return encode_basestring_ascii(text)


def _scanner() -> "Any":
    try:
        from _json import make_scanner
    except ImportError:
        from json.scanner import make_scanner
    return make_scanner(_Plain)  # type: ignore[arg-type]


class _Plain:
    """How JSON is to be read: as it stands."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
