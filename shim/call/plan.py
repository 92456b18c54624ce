"""Facts in, command line out: the flags that make claude start or resume a conversation.

They go before the caller's arguments, where no variadic option or `--` among those can swallow
them.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.call.call import Call
    from shim.claude.invocation import Invocation


def flags(call: "Call") -> list[str]:
    """The flags to start or resume the conversation of a call."""
    renders = call.transcript is not None and _renders_prompt(call.invocation)
    prompt = ["--system-prompt-snapshot", "off"] if renders else []
    title = [f"--name={call.title}"] if call.title else []
    return [*plugin_flags(call.plugins), *prompt, *conversation_flags(call), *title]


def plugin_flags(plugins: list[str]) -> list[str]:
    """The flags for plugins of ours."""
    return [word for plugin in plugins for word in ("--plugin-dir", plugin)]


def conversation_flags(call: "Call") -> list[str]:
    """The flags that name the conversation of a call."""
    transcript = call.transcript
    if transcript is None:
        return ["--session-id", call.session_id]
    # By its path from another project, because claude 2.1.197 looks an id up in the working
    # directory's project only (help facts, "Which conversation").
    named = call.session_id if transcript.is_here else transcript.path
    return ["--resume", named]


def _renders_prompt(invocation: "Invocation") -> bool:
    """Whether claude renders the system prompt and tools from this call's options.

    Otherwise a resumed conversation keeps those of its first call (help facts, "Personas").
    """
    snapshot = "--system-prompt-snapshot"
    is_heeded = invocation.is_interactive or invocation.has(snapshot)
    return invocation.spec.surely_has(snapshot) and not is_heeded
