"""Which options and subcommands claude has."""

import posix
import time

from shim.report import explain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

# What an option takes, as commander writes it in `--help`.
FLAG: "Final" = "-"
VALUE: "Final" = "<value>"
OPTIONAL: "Final" = "[value]"
VARIADIC: "Final" = "<values...>"


# Seconds after which a claude whose help said nothing is asked again.
_TRY_AGAIN_AFTER = 86400


class Surface:
    """The options and subcommands of one claude.

    The text has a line for each spelling of an option (`SPELLING NAME TAKES`), for each subcommand
    (`NAME subcommand`), and for each word that means a command of its own where it is the very
    first (`WORD first`). It is searched and never taken apart, because a command line has few words
    and claude some two hundred.
    """

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def option(self, spelling: str) -> "tuple[str, str] | None":
        """An option's one name and what it takes, or None where claude has no such option."""
        if not spelling.startswith("-") or " " in spelling or "\n" in spelling:
            return None
        start = self.text.find(f"\n{spelling} -")
        if start < 0:
            return None
        start += len(spelling) + 2
        name, _, takes = self.text[start : self.text.index("\n", start)].partition(" ")
        return name, takes

    def is_subcommand(self, word: str) -> bool:
        """Whether claude has a subcommand of that name."""
        return "\n" not in word and f"\n{word} subcommand\n" in self.text

    def is_first_word(self, word: str) -> bool:
        """Whether claude, with that word before all others, does something else altogether."""
        return "\n" not in word and f"\n{word} first\n" in self.text


# What `claude --help` of 2.1.330 lists, for a claude whose own could not be learned.
LISTED: "Final" = """
--add-dir --add-dir <values...>
--agent --agent <value>
--agents --agents <value>
--allow-dangerously-skip-permissions --allow-dangerously-skip-permissions -
--allowed-tools --allowed-tools <values...>
--allowedTools --allowed-tools <values...>
--append-system-prompt --append-system-prompt <value>
--autocompact --autocompact <value>
--ax-screen-reader --ax-screen-reader -
--bare --bare -
--betas --betas <values...>
--background --background -
--bg --background -
--brief --brief -
--chrome --chrome -
--cloud --cloud [value]
--continue --continue -
-c --continue -
--dangerously-skip-permissions --dangerously-skip-permissions -
--debug --debug [value]
-d --debug [value]
--debug-file --debug-file <value>
--desktop --desktop -
--disable-slash-commands --disable-slash-commands -
--disallowed-tools --disallowed-tools <values...>
--disallowedTools --disallowed-tools <values...>
--effort --effort <value>
--environment --environment <value>
--exclude-dynamic-system-prompt-sections --exclude-dynamic-system-prompt-sections -
--fallback-model --fallback-model <value>
--file --file <values...>
--fork-session --fork-session -
--forward-subagent-text --forward-subagent-text -
--from-pr --from-pr [value]
--help --help -
-h --help -
--ide --ide -
--include-hook-events --include-hook-events -
--include-partial-messages --include-partial-messages -
--input-format --input-format <value>
--json-schema --json-schema <value>
--max-budget-usd --max-budget-usd <value>
--mcp-config --mcp-config <values...>
--model --model <value>
--name --name <value>
-n --name <value>
--no-chrome --no-chrome -
--no-session-persistence --no-session-persistence -
--output-format --output-format <value>
--permission-mode --permission-mode <value>
--permission-prompts --permission-prompts <value>
--plugin-dir --plugin-dir <value>
--plugin-url --plugin-url <value>
--print --print -
-p --print -
--prompt-suggestions --prompt-suggestions [value]
--remote-control --remote-control [value]
--remote-control-session-name-prefix --remote-control-session-name-prefix <value>
--replay-user-messages --replay-user-messages -
--restricted --restricted -
--resume --resume [value]
-r --resume [value]
--safe-mode --safe-mode -
--session-id --session-id <value>
--setting-sources --setting-sources <value>
--settings --settings <value>
--strict-mcp-config --strict-mcp-config -
--system-prompt --system-prompt <value>
--system-prompt-snapshot --system-prompt-snapshot <value>
--teleport --teleport [value]
--tmux --tmux -
--tools --tools <values...>
--verbose --verbose -
--version --version -
-v --version -
--worktree --worktree [value]
-w --worktree [value]
agents subcommand
attach subcommand
auth subcommand
auto-mode subcommand
doctor subcommand
gateway subcommand
import subcommand
install subcommand
kill subcommand
logs subcommand
mcp subcommand
plugin subcommand
plugins subcommand
purge subcommand
respawn subcommand
rm subcommand
setup-token subcommand
stop subcommand
ultrareview subcommand
update subcommand
upgrade subcommand
"""

# What the help of 2.1.197 to 2.1.330 hides, read in the program.
HIDDEN: "Final" = """
--advisor --advisor <value>
--agent-color --agent-color <value>
--agent-id --agent-id <value>
--agent-name --agent-name <value>
--agent-type --agent-type <value>
--agents-view-if-allowed --agents-view-if-allowed -
--allow-other-models --allow-other-models -
--append-subagent-system-prompt --append-subagent-system-prompt <value>
--append-subagent-system-prompt-file --append-subagent-system-prompt-file <value>
--append-system-prompt-file --append-system-prompt-file <value>
--attach-serve --attach-serve <value>
--await-claim --await-claim -
--await-initialize --await-initialize -
--channels --channels <values...>
--client-data-url --client-data-url <value>
--correlation-id --correlation-id <value>
--dangerously-load-development-channels --dangerously-load-development-channels <values...>
--debug-to-stderr --debug-to-stderr -
-d2e --debug-to-stderr -
--deep-link-cwd-b64 --deep-link-cwd-b64 <value>
--deep-link-last-fetch --deep-link-last-fetch <value>
--deep-link-origin --deep-link-origin -
--deep-link-repo --deep-link-repo <value>
--enable-auth-status --enable-auth-status -
--enable-auto-mode --enable-auto-mode -
--fast-mode --fast-mode <value>
--forward-home-settings --forward-home-settings <value>
--hold-repository-while-parked --hold-repository-while-parked -
--host-auth-is-org-sign-in --host-auth-is-org-sign-in -
--ignore-persisted-trust --ignore-persisted-trust -
--include-unsupported-models --include-unsupported-models -
--inherit-permission-mode --inherit-permission-mode <value>
--init --init -
--init-only --init-only -
--initialize-fields --initialize-fields <value>
--lead-verify-key --lead-verify-key <value>
--maintenance --maintenance -
--managed-settings --managed-settings <value>
--managed-settings-in-initialize --managed-settings-in-initialize -
--max-thinking-tokens --max-thinking-tokens <value>
--max-turns --max-turns <value>
--mcp-debug --mcp-debug -
--messaging-socket-path --messaging-socket-path <value>
--metadata --metadata <value>
-m --model <value>
--on-branch --on-branch <value>
--parent-session-id --parent-session-id <value>
--permission-prompt-tool --permission-prompt-tool <value>
--plan-mode-instructions --plan-mode-instructions <value>
--plan-mode-required --plan-mode-required -
--plugin-dir-no-mcp --plugin-dir-no-mcp <value>
--pool --pool <value>
--prefill --prefill <value>
--prefill-b64 --prefill-b64 <value>
--proactivity --proactivity <value>
--project-config-root --project-config-root <value>
--rc --rc [value]
--ref --ref <value>
--remote --remote [value]
--reply-on-resume --reply-on-resume -
--resume-drops-turn --resume-drops-turn <value>
--resume-session-at --resume-session-at <value>
--rewind-files --rewind-files <value>
--runner-declares --runner-declares <value>
--sdk-url --sdk-url <value>
--session-began-as-copy --session-began-as-copy <value>
--session-mirror --session-mirror -
--system-prompt-file --system-prompt-file <value>
--task-budget --task-budget <value>
--team-name --team-name <value>
--teammate-mode --teammate-mode <value>
--thinking --thinking <value>
--thinking-display --thinking-display <value>
--watch-artifact --watch-artifact <value>
--watch-artifact-no-autoreact --watch-artifact-no-autoreact <value>
--workload --workload <value>
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
attach first
daemon first
kill first
logs first
rc first
rc subcommand
remote-control first
remote-control subcommand
respawn first
rm first
stop first
"""

BUILT_IN = Surface(LISTED + HIDDEN[1:])


def of(claude: str, store: str) -> Surface:
    """The surface of a claude: as learned from its `--help`, else the built-in one.

    What was learned is kept in the store's directory. A binary that was updated, in place or
    behind a link, is another, and is learned anew.
    """
    try:
        path = _path(claude, store)
    except OSError:
        return BUILT_IN
    learned = _read(path) or _learn(claude, store, path)
    return Surface(learned) if learned else BUILT_IN


def known(claude: str, store: str) -> Surface | None:
    """The surface of a claude, if it was learned before."""
    try:
        learned = _read(_path(claude, store))
    except OSError:
        return None
    return Surface(learned) if learned else None


def _path(claude: str, store: str) -> str:
    status = posix.stat(claude)
    identity = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return f"{store}/surfaces/{'-'.join(map(str, identity))}"


def _read(path: str) -> str | None:
    try:
        file = posix.open(path, posix.O_RDONLY)
    except OSError:
        return None
    try:
        # By its size: room for more than there is would have to be asked of the system.
        return posix.read(file, posix.fstat(file).st_size).decode("utf-8", "replace")
    finally:
        posix.close(file)


def _learn(claude: str, store: str, path: str) -> str | None:
    try:
        failed = posix.stat(path + ".failed").st_mtime
    except OSError:
        failed = 0.0
    if time.time() - failed < _TRY_AGAIN_AFTER:
        return None
    try:
        from shim import learning

        return learning.learn(claude, store, path.rpartition("/")[2])
    except Exception as problem:
        explain(f"the options of {claude} cannot be learned ({problem}): the built-in table serves")
        return None
