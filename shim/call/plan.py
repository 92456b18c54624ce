"""Facts in, command line out: the flags that make claude start or resume a conversation."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.claude.transcripts import Transcript


def flags(
    session_id: str,
    transcript: "Transcript | None",
    fork: str | None,
    plugin: str | None,
    renders_prompt: bool,
) -> list[str]:
    """Our own flags, which go before the caller's arguments.

    There they are safe from a variadic option or a `--` among the caller's. A conversation of
    another project is resumed by its path, because claude 2.1.197 looks an id up in the working
    directory's project only. With `fork`, a session id, the conversation is another claude's and
    a copy of it goes on under that id (FACTS.md, "which conversation"). `plugin` is the directory
    of the plugin that tells where the conversation moves. With `renders_prompt`, the system prompt
    and tools are what this call says, and not what the conversation's first one said for ever.
    """
    hooks = ["--plugin-dir", plugin] if plugin else []
    if transcript is None:
        return [*hooks, "--session-id", fork or session_id]
    prompt = ["--system-prompt-snapshot", "off"] if renders_prompt else []
    resume = [*hooks, *prompt, "--resume", session_id if transcript.is_here else transcript.path]
    return [*resume, "--fork-session", "--session-id", fork] if fork else resume
