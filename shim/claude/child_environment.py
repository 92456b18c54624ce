"""What each call of a room or an agent sets in claude's environment."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shim.claude.invocation import Invocation

_HINT = "CLAUDE_CODE_RESUME_HINT_COMMAND"


def variables(asked: "Invocation", environ: "Mapping[bytes, bytes]") -> dict[str, bytes]:
    """What has claude write each turn, and before its answer is seen.

    2.1.197 writes a turn some 100 ms after its answer otherwise, and any interactive claude that
    inherits another's mark writes none at all (help facts, "Inherited markers").

    At a terminal it has claude show, as it ends, a command without the option of our plugin: it
    leaves out every option then (2.1.330 and later; measured).
    """
    needed = {"CLAUDE_CODE_EAGER_FLUSH": b"1"}
    if environ.get(b"CLAUDE_CODE_CHILD_SESSION"):
        needed["CLAUDE_CODE_FORCE_SESSION_PERSISTENCE"] = b"1"
    if asked.is_interactive and _HINT.encode() not in environ:
        needed[_HINT] = b"claude"
    return needed
