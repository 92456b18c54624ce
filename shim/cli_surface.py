"""Which options and subcommands claude has."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# What an option takes, in commander's terms.
FLAG: "Final" = "flag"
VALUE: "Final" = "<value>"
OPTIONAL: "Final" = "[value]"
VARIADIC: "Final" = "<values...>"


class Surface:
    """Options, each spelling with its canonical name and what it takes, and subcommand names."""

    __slots__ = ("options", "subcommands")

    def __init__(
        self, options: "dict[str, tuple[str, str]]", subcommands: "frozenset[str]"
    ) -> None:
        self.options = options
        self.subcommands = subcommands


def _table(takes: str, *spellings: str) -> "dict[str, tuple[str, str]]":
    """One entry for each spelling; `-x,--long` share the long one's canonical name."""
    table = {}
    for group in spellings:
        names = group.split(",")
        for name in names:
            table[name] = (names[-1], takes)
    return table


# Claude Code 2.1.197 to 2.1.330: `claude --help`, and what it hides (FACTS.md, "which
# conversation").
BUILT_IN = Surface(
    {
        **_table(
            FLAG,
            "--agents-view-if-allowed",
            "--allow-dangerously-skip-permissions",
            "--allow-other-models",
            "--await-claim",
            "--await-initialize",
            "--ax-screen-reader",
            "--bare",
            "--background,--bg",
            "--brief",
            "--chrome",
            "-c,--continue",
            "--dangerously-skip-permissions",
            "-d2e,--debug-to-stderr",
            "--deep-link-origin",
            "--desktop",
            "--disable-slash-commands",
            "--enable-auth-status",
            "--enable-auto-mode",
            "--exclude-dynamic-system-prompt-sections",
            "--fork-session",
            "--forward-subagent-text",
            "-h,--help",
            "--hold-repository-while-parked",
            "--host-auth-is-org-sign-in",
            "--ide",
            "--ignore-persisted-trust",
            "--include-hook-events",
            "--include-partial-messages",
            "--include-unsupported-models",
            "--init",
            "--init-only",
            "--maintenance",
            "--managed-settings-in-initialize",
            "--mcp-debug",
            "--no-chrome",
            "--no-session-persistence",
            "--plan-mode-required",
            "-p,--print",
            "--replay-user-messages",
            "--reply-on-resume",
            "--restricted",
            "--safe-mode",
            "--session-mirror",
            "--strict-mcp-config",
            "--tmux",
            "--verbose",
            "-v,--version",
        ),
        **_table(
            VALUE,
            "--advisor",
            "--agent",
            "--agent-color",
            "--agent-id",
            "--agent-name",
            "--agent-type",
            "--agents",
            "--append-subagent-system-prompt",
            "--append-subagent-system-prompt-file",
            "--append-system-prompt",
            "--append-system-prompt-file",
            "--attach-serve",
            "--autocompact",
            "--client-data-url",
            "--correlation-id",
            "--debug-file",
            "--deep-link-cwd-b64",
            "--deep-link-last-fetch",
            "--deep-link-repo",
            "--effort",
            "--environment",
            "--fallback-model",
            "--fast-mode",
            "--forward-home-settings",
            "--inherit-permission-mode",
            "--initialize-fields",
            "--input-format",
            "--json-schema",
            "--lead-verify-key",
            "--managed-settings",
            "--max-budget-usd",
            "--max-thinking-tokens",
            "--max-turns",
            "--messaging-socket-path",
            "--metadata",
            "-m,--model",
            "-n,--name",
            "--on-branch",
            "--output-format",
            "--parent-session-id",
            "--permission-mode",
            "--permission-prompt-tool",
            "--permission-prompts",
            "--plan-mode-instructions",
            "--plugin-dir",
            "--plugin-dir-no-mcp",
            "--plugin-url",
            "--pool",
            "--prefill",
            "--prefill-b64",
            "--proactivity",
            "--project-config-root",
            "--ref",
            "--remote-control-session-name-prefix",
            "--resume-drops-turn",
            "--resume-session-at",
            "--rewind-files",
            "--runner-declares",
            "--sdk-url",
            "--session-began-as-copy",
            "--session-id",
            "--setting-sources",
            "--settings",
            "--system-prompt",
            "--system-prompt-file",
            "--system-prompt-snapshot",
            "--task-budget",
            "--team-name",
            "--teammate-mode",
            "--thinking",
            "--thinking-display",
            "--watch-artifact",
            "--watch-artifact-no-autoreact",
            "--workload",
        ),
        **_table(
            OPTIONAL,
            "--cloud",
            "-d,--debug",
            "--from-pr",
            "--prompt-suggestions",
            "--rc",
            "--remote",
            "--remote-control",
            "-r,--resume",
            "--teleport",
            "-w,--worktree",
        ),
        **_table(
            VARIADIC,
            "--add-dir",
            "--allowedTools,--allowed-tools",
            "--betas",
            "--channels",
            "--dangerously-load-development-channels",
            "--disallowedTools,--disallowed-tools",
            "--file",
            "--mcp-config",
            "--tools",
        ),
    },
    frozenset(
        (
            *("agents", "api-key", "attach", "auth", "auto-mode", "config", "daemon", "doctor"),
            *("gateway", "help", "import", "install", "kill", "logs", "mcp", "migrate-installer"),
            *("plugin", "plugins", "purge", "rc", "remote-control", "respawn", "rm", "setup-token"),
            *("stop", "ultrareview", "update", "upgrade"),
        )
    ),
)
