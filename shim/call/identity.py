"""Which room and agent a call belongs to: what it says, what it inherits, who is around it.

What is inherited is weaker than what is said. The wrapper tells the claude it becomes its key in
`NSED_SHIM_ROOM` and `NSED_SHIM_AGENT`, too: inside, a variable that still has that value was
inherited, and one that differs was said by the caller.
"""

import posix

from shim.base.session_key import DEFAULT_AGENT, SessionKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# NSED's worker says its room by this one, and its agent with it.
_WORKERS_ROOM = b"NSED_SESSION_ID"
_ROOMS = (b"NSED_ROOM_ID", _WORKERS_ROOM)
_AGENT = b"NSED_AGENT_NAME"
_TOLD_ROOM = b"NSED_SHIM_ROOM"
_TOLD_AGENT = b"NSED_SHIM_AGENT"

_SAID_BY = "said by "
_INHERITED = "inherited"
_OF_OPENCODE = "of the OpenCode around it"
_BY_NOTHING = "named by nothing"


class Identity:
    """The session key of a call, and which sources its room and agent are from."""

    __slots__ = ("agent_from", "key", "room_from")

    def __init__(self, room: bytes, room_from: str, agent: bytes, agent_from: str) -> None:
        self.key = SessionKey(room, agent)
        self.room_from = room_from
        self.agent_from = agent_from

    def __str__(self) -> str:
        return f"{self.key}: the room {self.room_from}, the agent {self.agent_from}"


def put_right(environ: "Mapping[bytes, bytes]") -> "Mapping[bytes, bytes]":
    """The environment with the key that a worker in the background really inherits.

    All workers have the environment of the claude that started their service, which may be of
    another room, or of none (help facts, "In the background").
    """
    if b"CLAUDE_JOB_DIR" not in environ:
        return environ
    from shim.store import plugin_links

    told = environ.get(_TOLD_ROOM), environ.get(_TOLD_AGENT)
    inherited = dict(zip((*_ROOMS, _AGENT), (told[0], told[0], told[1]), strict=True))
    right = {
        name: value
        for name, value in environ.items()
        if name not in (_TOLD_ROOM, _TOLD_AGENT) and inherited.get(name) != value
    }
    own = plugin_links.key_of_worker()
    if own is not None:
        names = {_ROOMS[0]: own.room_bytes, _AGENT: own.agent_bytes}
        told_it = {_TOLD_ROOM: own.room_bytes, _TOLD_AGENT: own.agent_bytes}
        right = {**names, **right, **told_it}
    return right


def around(environ: "Mapping[bytes, bytes]") -> "tuple[bytes, bytes] | None":
    """The room and agent that an OpenCode around the call names, where no variable names any.

    None where there is no such OpenCode; the agent is empty where it names none.
    """
    if environ.get(b"OPENCODE") != b"1":
        return None
    if any(environ.get(name) for name in (*_ROOMS, _AGENT)):
        return None
    if _surely_names_no_session(environ.get(b"OPENCODE_PID", b"")):
        return None
    from shim.opencode import command_line

    return command_line.conversation()


def resolve(
    environ: "Mapping[bytes, bytes]", agent_option: bytes, opencode: "tuple[bytes, bytes] | None"
) -> Identity | None:
    """The identity of a call, or None where it has neither room nor agent.

    `agent_option` is the value of `--agent` on claude's command line, `opencode` is what `around`
    says. Empty means unset.
    """
    room, room_from = _room(environ)
    other_agent = b""
    if opencode:
        (room, other_agent), room_from = opencode, _OF_OPENCODE
    agent, agent_from = _agent(environ, room_from, agent_option if room else b"")
    if not agent and other_agent:
        agent, agent_from = other_agent, _OF_OPENCODE
    if not room and not agent:
        return None
    return Identity(room, room_from, agent or DEFAULT_AGENT.encode(), agent_from)


def exports(key: SessionKey, environ: "Mapping[bytes, bytes]") -> dict[str, bytes]:
    """What tells a claude, and so everything inside it, its room and agent."""
    told = {
        "NSED_ROOM_ID": key.room_bytes,
        "NSED_AGENT_NAME": key.agent_bytes,
        "NSED_SHIM_ROOM": key.room_bytes,
        "NSED_SHIM_AGENT": key.agent_bytes,
    }
    if environ.get(b"NSED_SESSION_ID"):
        # Else it would look said one level deeper.
        told["NSED_SESSION_ID"] = key.room_bytes
    return told


def _room(environ: "Mapping[bytes, bytes]") -> tuple[bytes, str]:
    """The room that the variables name, and where it is from."""
    told = environ.get(_TOLD_ROOM) if environ.get(_TOLD_AGENT) else None
    rooms = [(room, name) for name in _ROOMS if (room := environ.get(name))]
    for room, name in rooms:
        if room != told:
            return room, _SAID_BY + name.decode()
    return (rooms[0][0], _INHERITED) if rooms else (b"", _BY_NOTHING)


def _agent(
    environ: "Mapping[bytes, bytes]", room_from: str, agent_option: bytes
) -> tuple[bytes, str]:
    """The agent, and where it is from.

    Where the room is said, an inherited agent does not count: the same command is to mean the same
    conversation inside and outside.
    """
    named = environ.get(_AGENT, b"")
    is_of_worker = room_from == _SAID_BY + _WORKERS_ROOM.decode()
    if named and (is_of_worker or named != environ.get(_TOLD_AGENT)):
        return named, _SAID_BY + _AGENT.decode()
    if agent_option:
        return agent_option, _SAID_BY + "--agent"
    if named and not room_from.startswith(_SAID_BY):
        return named, _INHERITED
    return b"", _BY_NOTHING


def _surely_names_no_session(opencode_pid: bytes) -> bool:
    """Whether that OpenCode, the nearest, was called without a session id. Most are.

    This takes 0.1 ms, and a look at all ancestors 18. Without a pid or a /proc, it is not sure.
    """
    try:
        file = posix.open(b"/proc/%d/cmdline" % int(opencode_pid), posix.O_RDONLY)
        try:
            return b"ses_" not in posix.read(file, 1 << 21)
        finally:
            posix.close(file)
    except (OSError, ValueError):
        return False
