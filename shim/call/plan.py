"""Facts in, command line out: the flags that make claude start, resume or copy a conversation.

They go before the caller's arguments: there they are safe from a variadic option or a `--` among
the caller's. `plugins` are the directories of ours for this run. With `renders_prompt`, the system
prompt and tools are what this call says, and not what the conversation's first one said for ever
(help facts, "Personas").
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.claude.transcripts import Transcript


def flags(
    session_id: str, transcript: "Transcript | None", plugins: list[str], renders_prompt: bool
) -> list[str]:
    """The flags to go on with a conversation, or to start it where it has no transcript."""
    hooks = plugin_flags(plugins)
    if transcript is None:
        return [*hooks, "--session-id", session_id]
    return [*hooks, *_resume(session_id, transcript, renders_prompt)]


def plugin_flags(plugins: list[str]) -> list[str]:
    """The flags for plugins of ours."""
    return [word for plugin in plugins for word in ("--plugin-dir", plugin)]


def fork(
    session_id: str,
    transcript: "Transcript | None",
    copy: str,
    since: str | None,
    plugins: list[str],
    renders_prompt: bool,
) -> list[str]:
    """The flags to go on with a copy of a conversation, under the session id `copy`.

    With `since`, the id of a message, what came after that is left out: the turn that another
    claude is in the middle of. A conversation with no transcript, or no finished turn, is started.
    """
    if transcript is None:
        return flags(copy, None, plugins, renders_prompt)
    resume = flags(session_id, transcript, plugins, renders_prompt)
    until = ["--resume-session-at", since] if since else []
    return [*resume, "--fork-session", "--session-id", copy, *until]


def _resume(session_id: str, transcript: "Transcript", renders_prompt: bool) -> list[str]:
    # By its path from another project, because claude 2.1.197 looks an id up in the working
    # directory's project only (help facts, "Which conversation").
    prompt = ["--system-prompt-snapshot", "off"] if renders_prompt else []
    return [*prompt, "--resume", session_id if transcript.is_here else transcript.path]
