"""Which room and agent a call belongs to, and whether the call names them or only inherits them.

Only what is explicit names a room. The wrapper sets the key of the claude it becomes in
`NSED_SHIM_ROOM` and `NSED_SHIM_AGENT`, too, and which process that is in `NSED_SHIM_PID`. What runs
inside that claude inherits all three, and can outlive it (help facts, "Names that outlive their
claude"): a variable that still has the value set there is inherited, one that differs is explicit.
Without `NSED_SHIM_ROOM` nothing is inherited.
"""

import posix
import time

from shim.base.session_key import DEFAULT_AGENT, SessionKey
from shim.claude import registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Environ = Mapping[bytes, bytes]

# NSED's worker names its room by this one, and its agent with it.
_WORKERS_ROOM = b"NSED_SESSION_ID"
_ROOMS = (b"NSED_ROOM_ID", _WORKERS_ROOM)
_AGENT = b"NSED_AGENT_NAME"
_OUTER_ROOM = b"NSED_SHIM_ROOM"
_OUTER_AGENT = b"NSED_SHIM_AGENT"
_OUTER_PID = b"NSED_SHIM_PID"

_OPENCODE = "OpenCode"
_INHERITED = "inherited"


class Identity:
    """The session key of a call, and where its room and agent are from.

    With `is_inherited` the room is that of a claude whose environment the call has. `has_agent`
    says whether the call names the agent itself.
    """

    __slots__ = ("agent_from", "has_agent", "is_inherited", "key", "room_from")

    def __init__(self, room: bytes, room_from: str, agent: bytes, agent_from: str) -> None:
        self.key = SessionKey(room, agent or DEFAULT_AGENT.encode())
        self.room_from = room_from
        self.agent_from = agent_from
        self.is_inherited = room_from == _INHERITED
        self.has_agent = agent_from not in ("", _INHERITED)

    def __str__(self) -> str:
        return f"{self.key}: {_origin('room', self.room_from)}; {_origin('agent', self.agent_from)}"


def _origin(what: str, source: str) -> str:
    if source == _INHERITED:
        return f"inherited {what}"
    if source:
        return f"{what} from {source}"
    return "no room" if what == "room" else "default agent"


def with_workers_names(environ: "Environ") -> "Environ":
    """The environment with the key that a worker in the background really inherits.

    All workers have the environment of the claude that started their service, which may be of
    another room, or of none (help facts, "In the background").
    """
    job = environ.get(b"CLAUDE_JOB_DIR")
    if job is None:
        return environ
    from shim.store import plugin_links

    outer = environ.get(_OUTER_ROOM), environ.get(_OUTER_AGENT)
    inherited = dict(zip((*_ROOMS, _AGENT), (outer[0], outer[0], outer[1]), strict=True))
    dropped = (_OUTER_ROOM, _OUTER_AGENT, _OUTER_PID)
    right = {
        name: value
        for name, value in environ.items()
        if name not in dropped and inherited.get(name) != value
    }
    own = plugin_links.key_of_worker()
    if own is not None:
        names = {_ROOMS[0]: own.room_bytes, _AGENT: own.agent_bytes}
        outer_names = {_OUTER_ROOM: own.room_bytes, _OUTER_AGENT: own.agent_bytes}
        right = {**names, **right, **outer_names, _OUTER_PID: _worker(job)}
    return right


def opencode_names(environ: "Environ") -> "tuple[bytes, bytes] | None":
    """The room and agent of the OpenCode that started the call, where no variable is explicit.

    None where there is no such OpenCode; the agent is empty where it names none. An OpenCode around
    the claude whose names are inherited is not asked: that claude is nearer.
    """
    if environ.get(b"OPENCODE") != b"1" or _has_explicit_names(environ):
        return None
    session = environ.get(b"OPENCODE_SESSION_ID")
    is_inside = _outer_agent(environ) is not None
    outer_pid, _ = outer_process(environ)
    if is_inside and not outer_pid:
        return None  # of a version that names no process
    if not session and _surely_names_no_session(environ.get(b"OPENCODE_PID", b"")):
        return None
    if session and not is_inside:
        return b"oc-" + session, b""
    from shim.opencode import command_line

    return command_line.conversation(outer_pid if is_inside else 0, session)


def resolve(
    environ: "Environ", agent_option: bytes, opencode: "tuple[bytes, bytes] | None"
) -> Identity | None:
    """The identity of a call, or None where it has neither room nor agent.

    `agent_option` is the value of `--agent` on claude's command line, `opencode` is what
    `opencode_names` returns. Empty means unset.
    """
    room, room_from = _room(environ, opencode)
    agent, agent_from = environ.get(_AGENT, b""), _AGENT.decode()
    is_of_worker = room_from == _WORKERS_ROOM.decode()
    if not agent or (agent == _outer_agent(environ) and not is_of_worker):
        is_room_explicit = room_from not in ("", _INHERITED)
        if agent_option and room:
            agent, agent_from = agent_option, "--agent"
        elif opencode and opencode[1]:
            agent, agent_from = opencode[1], _OPENCODE
        elif agent and not is_room_explicit:
            agent_from = _INHERITED
        else:
            # The same command means the same conversation inside a claude and outside.
            agent, agent_from = b"", ""
    if agent_from == _INHERITED and not room_from:
        room, room_from = environ.get(_OUTER_ROOM, b""), _INHERITED
    if not room and not agent:
        return None
    return Identity(room, room_from, agent, agent_from)


def variables_inside(key: SessionKey, environ: "Environ") -> dict[str, bytes]:
    """What the claude that this process becomes, and so everything inside it, has of its key."""
    variables = {
        "NSED_ROOM_ID": key.room_bytes,
        "NSED_AGENT_NAME": key.agent_bytes,
        "NSED_SHIM_ROOM": key.room_bytes,
        "NSED_SHIM_AGENT": key.agent_bytes,
        "NSED_SHIM_PID": _this_process(),
    }
    if environ.get(_WORKERS_ROOM):
        # Else it would look explicit one level deeper.
        variables["NSED_SESSION_ID"] = key.room_bytes
    return variables


def outer_process(environ: "Environ") -> tuple[int, str]:
    """The claude whose names a call inherits: its pid and start; 0 where it is unknown."""
    pid, _, start = environ.get(_OUTER_PID, b"").partition(b":")
    return int(pid) if pid.isdigit() else 0, start.decode("ascii", "replace")


def _this_process() -> bytes:
    """This process's pid, which an exec keeps, and what tells a later process of it apart.

    That is when it started, as Linux counts; elsewhere the present: a later process starts later.
    """
    pid = posix.getpid()
    return f"{pid}:{registry.start_of(pid) or f'{time.time():.3f}'}".encode()


def _worker(job_directory: bytes) -> bytes:
    """The worker that lives for a job; where it has ended, a process that nobody descends from."""
    job = job_directory.rpartition(b"/")[2].decode("utf-8", "replace")
    pid, start = registry.worker_of(job) or (1, "")
    return f"{pid}:{start}".encode()


def _has_explicit_names(environ: "Environ") -> bool:
    agent = environ.get(_AGENT)
    return bool(_explicit_room(environ)[0] or (agent and agent != _outer_agent(environ)))


def _room(environ: "Environ", opencode: "tuple[bytes, bytes] | None") -> tuple[bytes, str]:
    """The room, and where it is from."""
    room, room_from = _explicit_room(environ)
    outer = _outer_room(environ)
    if not room and opencode:
        room, room_from = opencode[0], _INHERITED if opencode[0] == outer else _OPENCODE
    if not room and any(environ.get(name) for name in _ROOMS):
        room, room_from = outer or b"", _INHERITED
    if not room and outer == b"" and environ.get(_AGENT):
        room_from = _INHERITED  # the room without a name is that claude's, too
    return room, room_from


def _explicit_room(environ: "Environ") -> tuple[bytes, str]:
    """The room that a variable names, other than the outer claude's, and which variable."""
    outer = _outer_room(environ)
    for name in _ROOMS:
        room = environ.get(name)
        if room and room != outer:
            return room, name.decode()
    return b"", ""


def _outer_room(environ: "Environ") -> bytes | None:
    """The room of the claude whose environment the call has; None outside of any."""
    return environ.get(_OUTER_ROOM) if environ.get(_OUTER_AGENT) else None


def _outer_agent(environ: "Environ") -> bytes | None:
    """The agent of that claude."""
    return None if _outer_room(environ) is None else environ.get(_OUTER_AGENT)


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
