"""Which room and agent a call belongs to."""

import posix

from shim.base.session_key import DEFAULT_AGENT, SessionKey

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def around(environ: "Mapping[bytes, bytes]") -> "tuple[bytes, bytes] | None":
    """The room and agent that an OpenCode around the call names, where no variable names any.

    None where there is no such OpenCode; the agent is empty where it names none.
    """
    if environ.get(b"OPENCODE") != b"1":
        return None
    if environ.get(b"NSED_ROOM_ID") or environ.get(b"NSED_AGENT_NAME"):
        return None
    if _surely_names_no_session(environ.get(b"OPENCODE_PID", b"")):
        return None
    from shim.opencode import command_line

    return command_line.conversation()


def is_possible(
    environ: "Mapping[bytes, bytes]",
    args: "Sequence[str]",
    opencode: "tuple[bytes, bytes] | None" = None,
) -> bool:
    """Whether a call can have a session key at all, before its arguments are understood.

    `opencode` is what `around` says.
    """
    return bool(
        environ.get(b"NSED_ROOM_ID")
        or environ.get(b"NSED_AGENT_NAME")
        or opencode
        or any(arg == "--agent" or arg.startswith("--agent=") for arg in args)
    )


def resolve(
    environ: "Mapping[bytes, bytes]",
    agent_option: bytes | None,
    opencode: "tuple[bytes, bytes] | None" = None,
) -> SessionKey | None:
    """The session key of a call, or None where it has neither room nor agent.

    `agent_option` is the value of `--agent` on claude's command line, `opencode` is what `around`
    says. Empty means unset.
    """
    other_room, other_agent = opencode or (b"", b"")
    room = environ.get(b"NSED_ROOM_ID") or other_room
    agent = environ.get(b"NSED_AGENT_NAME") or agent_option or other_agent
    if not room and not agent:
        return None
    return SessionKey(room, agent or DEFAULT_AGENT.encode())


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
