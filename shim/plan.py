"""Facts in, command line out: the flags that make claude start or resume a conversation."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.transcripts import Transcript


def flags(session_id: str, transcript: "Transcript | None") -> list[str]:
    """Our own flags, which go before the caller's arguments.

    There they are safe from a variadic option or a `--` among the caller's. A conversation of
    another project is resumed by its path, because claude 2.1.197 looks an id up in the working
    directory's project only (FACTS.md, "which conversation").
    """
    if transcript is None:
        return ["--session-id", session_id]
    return ["--resume", session_id if transcript.is_here else transcript.path]
