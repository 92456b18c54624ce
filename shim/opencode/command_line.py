"""The OpenCode conversation that a call without a room comes from, read off its ancestors.

OpenCode tells a program it starts neither its conversation nor its agent (help facts, "OpenCode");
where our plugin is not there to do so, its own command line may: `opencode run -s ses_… --agent A`.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

ROOM_PREFIX = "oc-"
"""What stands before a session's id in the name of its room; our plugin has it, too."""

_NAME = "opencode"
_SESSION_PREFIX = "ses_"


def conversation(outer_pid: int = 0, session: bytes | None = None) -> tuple[bytes, bytes] | None:
    """The room and agent that the nearest OpenCode around us names, or None.

    The agent is empty where it names none. An OpenCode further out has other conversations, and so
    has one around the claude `outer_pid`, whose names we inherit. `session` is what a variable
    names, if any.
    """
    import psutil  # it costs more than `claude-shim list` else needs

    try:
        ancestors = psutil.Process().parents()
    except psutil.Error:
        return None
    for process in ancestors:
        if process.pid == outer_pid:
            return None
        try:
            command_line = process.cmdline()
        except psutil.Error:
            continue
        if _name_at(command_line) is not None:
            if session:
                return ROOM_PREFIX.encode() + session, b""
            return named_by(command_line)
    return None


def named_by(command_line: "Sequence[str]") -> tuple[bytes, bytes] | None:
    """The room and agent that an OpenCode's command line names; None without a session.

    The words after the program's name are read as yargs reads them. It is `opencode.exe` where npm
    brought it, and the second word where a script runs it. A fork of the session is another
    conversation.
    """
    at = _name_at(command_line)
    if at is None:
        return None
    words = list(command_line[at + 1 :])
    if "--" in words:
        del words[words.index("--") :]
    session = _value(words, "--session", "-s")
    if not session.startswith(_SESSION_PREFIX) or "--fork" in words:
        return None
    named = (f"{ROOM_PREFIX}{session}", _value(words, "--agent"))
    room, agent = (name.encode("utf-8", "surrogateescape") for name in named)
    return room, agent


def _name_at(command_line: "Sequence[str]") -> int | None:
    """Which word of a command line is an OpenCode's name, or None."""
    return next((n for n, word in enumerate(command_line[:2]) if _base_name(word) == _NAME), None)


def _value(words: "Sequence[str]", *names: str) -> str:
    for word, following in zip(words, [*words[1:], ""], strict=False):
        name, has_value, value = word.partition("=")
        if name in names:
            return value if has_value else "" if following.startswith("-") else following
    return ""


def _base_name(word: str) -> str:
    return word.rpartition("/")[2].removesuffix(".exe")
