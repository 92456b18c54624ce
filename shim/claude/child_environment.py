"""The variables that each managed call sets for claude."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from shim.claude.invocation import Invocation

_HINT = "CLAUDE_CODE_RESUME_HINT_COMMAND"


def variables(asked: "Invocation", environ: "Mapping[bytes, bytes]") -> dict[str, bytes]:
    """Variables that have claude write each turn, and write it before its answer is seen.

    Without them 2.1.197 writes a turn some 100 ms after its answer, and an interactive claude that
    inherits another's marker writes none at all (help facts, "Inherited markers").

    At a terminal, one more has claude show at its end a resume command without the option of our
    plugin: claude then leaves out all options (measured on 2.1.330 and later).
    """
    needed = {"CLAUDE_CODE_EAGER_FLUSH": b"1"}
    if environ.get(b"CLAUDE_CODE_CHILD_SESSION"):
        needed["CLAUDE_CODE_FORCE_SESSION_PERSISTENCE"] = b"1"
    if asked.is_interactive and _HINT.encode() not in environ:
        needed[_HINT] = b"claude"
    return needed
