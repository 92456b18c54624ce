"""Which options and subcommands claude has."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# What an option takes, as commander writes it in `--help`.
FLAG: "Final" = "-"
VALUE: "Final" = "<value>"
OPTIONAL: "Final" = "[value]"
VARIADIC: "Final" = "<values...>"

_SUBCOMMAND = "subcommand"
_FIRST_WORD = "first"
_EITHER = "first-or-subcommand"


class Surface:
    """The options and subcommands of one claude.

    The text has a line for each spelling of an option (`SPELLING NAME TAKES`), for each subcommand
    (`NAME subcommand`), for each word that means a command of its own where it is the very first
    (`WORD first`), and for what is both. It is searched and never taken apart, because a command
    line has few words and claude some two hundred.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def option(self, spelling: str) -> "tuple[str, str] | None":
        """An option's one name and what it takes, or None where claude has no such option."""
        entry = self._entry(spelling) if spelling.startswith("-") else None
        if entry is None or " " not in entry:
            return None
        name, takes = entry.split(" ")
        return name, takes

    def is_subcommand(self, word: str) -> bool:
        """Whether claude has a subcommand of that name."""
        return self._entry(word) in (_SUBCOMMAND, _EITHER)

    def is_first_word(self, word: str) -> bool:
        """Whether claude, with that word before all others, does something else altogether."""
        return self._entry(word) in (_FIRST_WORD, _EITHER)

    def _entry(self, word: str) -> str | None:
        """What a word's line says of it."""
        if not word or " " in word or "\n" in word:
            return None
        start = self.text.find(f"\n{word} ")
        if start < 0:
            return None
        start += len(word) + 2
        return self.text[start : self.text.index("\n", start)]


# Claude Code 2.1.197 to 2.1.330: what `claude --help` lists, and the options it hides, read in the
# program.
BUILT_IN = Surface("""
--add-dir --add-dir <values...>
--advisor --advisor <value>
--agent --agent <value>
--agent-color --agent-color <value>
--agent-id --agent-id <value>
--agent-name --agent-name <value>
--agent-type --agent-type <value>
--agents --agents <value>
--agents-view-if-allowed --agents-view-if-allowed -
--allow-dangerously-skip-permissions --allow-dangerously-skip-permissions -
--allow-other-models --allow-other-models -
--allowed-tools --allowed-tools <values...>
--allowedTools --allowed-tools <values...>
--append-subagent-system-prompt --append-subagent-system-prompt <value>
--append-subagent-system-prompt-file --append-subagent-system-prompt-file <value>
--append-system-prompt --append-system-prompt <value>
--append-system-prompt-file --append-system-prompt-file <value>
--attach-serve --attach-serve <value>
--autocompact --autocompact <value>
--await-claim --await-claim -
--await-initialize --await-initialize -
--ax-screen-reader --ax-screen-reader -
--bare --bare -
--betas --betas <values...>
--background --background -
--bg --background -
--brief --brief -
--channels --channels <values...>
--chrome --chrome -
--client-data-url --client-data-url <value>
--cloud --cloud [value]
--continue --continue -
-c --continue -
--correlation-id --correlation-id <value>
--dangerously-load-development-channels --dangerously-load-development-channels <values...>
--dangerously-skip-permissions --dangerously-skip-permissions -
--debug --debug [value]
-d --debug [value]
--debug-file --debug-file <value>
--debug-to-stderr --debug-to-stderr -
-d2e --debug-to-stderr -
--deep-link-cwd-b64 --deep-link-cwd-b64 <value>
--deep-link-last-fetch --deep-link-last-fetch <value>
--deep-link-origin --deep-link-origin -
--deep-link-repo --deep-link-repo <value>
--desktop --desktop -
--disable-slash-commands --disable-slash-commands -
--disallowed-tools --disallowed-tools <values...>
--disallowedTools --disallowed-tools <values...>
--effort --effort <value>
--enable-auth-status --enable-auth-status -
--enable-auto-mode --enable-auto-mode -
--environment --environment <value>
--exclude-dynamic-system-prompt-sections --exclude-dynamic-system-prompt-sections -
--fallback-model --fallback-model <value>
--fast-mode --fast-mode <value>
--file --file <values...>
--fork-session --fork-session -
--forward-home-settings --forward-home-settings <value>
--forward-subagent-text --forward-subagent-text -
--from-pr --from-pr [value]
--help --help -
-h --help -
--hold-repository-while-parked --hold-repository-while-parked -
--host-auth-is-org-sign-in --host-auth-is-org-sign-in -
--ide --ide -
--ignore-persisted-trust --ignore-persisted-trust -
--include-hook-events --include-hook-events -
--include-partial-messages --include-partial-messages -
--include-unsupported-models --include-unsupported-models -
--inherit-permission-mode --inherit-permission-mode <value>
--init --init -
--init-only --init-only -
--initialize-fields --initialize-fields <value>
--input-format --input-format <value>
--json-schema --json-schema <value>
--lead-verify-key --lead-verify-key <value>
--maintenance --maintenance -
--managed-settings --managed-settings <value>
--managed-settings-in-initialize --managed-settings-in-initialize -
--max-budget-usd --max-budget-usd <value>
--max-thinking-tokens --max-thinking-tokens <value>
--max-turns --max-turns <value>
--mcp-config --mcp-config <values...>
--mcp-debug --mcp-debug -
--messaging-socket-path --messaging-socket-path <value>
--metadata --metadata <value>
--model --model <value>
-m --model <value>
--name --name <value>
-n --name <value>
--no-chrome --no-chrome -
--no-session-persistence --no-session-persistence -
--on-branch --on-branch <value>
--output-format --output-format <value>
--parent-session-id --parent-session-id <value>
--permission-mode --permission-mode <value>
--permission-prompt-tool --permission-prompt-tool <value>
--permission-prompts --permission-prompts <value>
--plan-mode-instructions --plan-mode-instructions <value>
--plan-mode-required --plan-mode-required -
--plugin-dir --plugin-dir <value>
--plugin-dir-no-mcp --plugin-dir-no-mcp <value>
--plugin-url --plugin-url <value>
--pool --pool <value>
--prefill --prefill <value>
--prefill-b64 --prefill-b64 <value>
--print --print -
-p --print -
--proactivity --proactivity <value>
--project-config-root --project-config-root <value>
--prompt-suggestions --prompt-suggestions [value]
--rc --rc [value]
--ref --ref <value>
--remote --remote [value]
--remote-control --remote-control [value]
--remote-control-session-name-prefix --remote-control-session-name-prefix <value>
--replay-user-messages --replay-user-messages -
--reply-on-resume --reply-on-resume -
--restricted --restricted -
--resume --resume [value]
-r --resume [value]
--resume-drops-turn --resume-drops-turn <value>
--resume-session-at --resume-session-at <value>
--rewind-files --rewind-files <value>
--runner-declares --runner-declares <value>
--safe-mode --safe-mode -
--sdk-url --sdk-url <value>
--session-began-as-copy --session-began-as-copy <value>
--session-id --session-id <value>
--session-mirror --session-mirror -
--setting-sources --setting-sources <value>
--settings --settings <value>
--strict-mcp-config --strict-mcp-config -
--system-prompt --system-prompt <value>
--system-prompt-file --system-prompt-file <value>
--system-prompt-snapshot --system-prompt-snapshot <value>
--task-budget --task-budget <value>
--team-name --team-name <value>
--teammate-mode --teammate-mode <value>
--teleport --teleport [value]
--thinking --thinking <value>
--thinking-display --thinking-display <value>
--tmux --tmux -
--tools --tools <values...>
--verbose --verbose -
--version --version -
-v --version -
--watch-artifact --watch-artifact <value>
--watch-artifact-no-autoreact --watch-artifact-no-autoreact <value>
--workload --workload <value>
--worktree --worktree [value]
-w --worktree [value]
--bg-pty-host first
--bg-spare first
--chrome-native-host first
--claude-in-chrome-mcp first
--daemon-worker first
--eval-mock-server first
--preload first
--update first
--upgrade first
-V first
bridge first
remote first
self-hosted-runner first
sync first
agents subcommand
attach first-or-subcommand
auth subcommand
auto-mode subcommand
daemon first
doctor subcommand
gateway subcommand
import subcommand
install subcommand
kill first-or-subcommand
logs first-or-subcommand
mcp subcommand
plugin subcommand
plugins subcommand
purge subcommand
rc first-or-subcommand
remote-control first-or-subcommand
respawn first-or-subcommand
rm first-or-subcommand
setup-token subcommand
stop first-or-subcommand
ultrareview subcommand
update subcommand
upgrade subcommand
""")
