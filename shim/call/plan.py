"""Facts in, command line out: the flags that make claude start, resume or fork a conversation.

They go before the caller's arguments, where no variadic option or `--` among those can swallow
them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.call.call import Call
    from shim.claude.invocation import Invocation


def flags(call: "Call") -> list[str]:
    """The flags to start, resume or fork the conversation of a call."""
    return [*plugin_flags(call.plugins), *_conversation(call)]


def plugin_flags(plugins: list[str]) -> list[str]:
    """The flags for plugins of ours."""
    return [word for plugin in plugins for word in ("--plugin-dir", plugin)]


def _conversation(call: "Call") -> list[str]:
    transcript, fork = call.transcript, call.fork
    if transcript is None:
        return ["--session-id", fork.session_id if fork else call.session_id]
    prompt = ["--system-prompt-snapshot", "off"] if _renders_prompt(call.invocation) else []
    # By its path from another project, because claude 2.1.197 looks an id up in the working
    # directory's project only (help facts, "Which conversation").
    resume = [*prompt, "--resume", call.session_id if transcript.is_here else transcript.path]
    if fork is None:
        return resume
    until = ["--resume-session-at", fork.since] if fork.since else []
    title = [f"--name={fork.title}"] if fork.title else []
    return [*resume, "--fork-session", "--session-id", fork.session_id, *until, *title]


def _renders_prompt(invocation: "Invocation") -> bool:
    """Whether claude renders the system prompt and tools from this call's options.

    Otherwise a resumed conversation keeps those of its first call (help facts, "Personas").
    """
    snapshot = "--system-prompt-snapshot"
    is_heeded = invocation.is_interactive or invocation.has(snapshot)
    return invocation.spec.surely_has(snapshot) and not is_heeded
