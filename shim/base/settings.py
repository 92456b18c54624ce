"""Every environment variable that is read here: what it takes, what it means, and who reads it."""

from __future__ import annotations

import os
from dataclasses import dataclass

SWITCH = "a switch: anything but empty and 0 is on"
_TEXT, _DIRECTORY, _PROGRAM, _NUMBER = "text", "a path from / on", "a program", "a number of "


@dataclass(frozen=True)
class Setting:
    """An environment variable. Empty means unset."""

    name: str
    kind: str
    """What a value is: one of those above, `a number of …`, or words with commas between."""
    default: str
    """What holds where it is unset."""
    meaning: str
    readers: str

    def fault(self, value: str) -> str:
        """Why a value cannot be used, to be said behind it; nothing where it can."""
        if "," in self.kind and value not in self.kind.split(", "):
            return f"is none of {self.kind}: taken as unset"
        if self.kind.startswith(_NUMBER) and not _is_number(value):
            return f"is no {self.kind[2:]}: taken as unset"
        if self.kind == _DIRECTORY and not os.path.isabs(value):
            return "is another directory wherever you are"
        return ""


_CALL, _TOOL, _BOTH = "each call", "claude-shim", "each call, claude-shim"

OWN = (
    Setting(
        "NSED_ROOM_ID",
        _TEXT,
        "NSED_SESSION_ID, else the session that OpenCode's command line names",
        "The room. With a room and no agent, the agent is `claude`.",
        "each call, OpenCode's plugin, hooks",
    ),
    Setting(
        "NSED_SESSION_ID",
        _TEXT,
        "no room",
        "The room, where NSED_ROOM_ID names none: what NSED's workers set.",
        "each call, OpenCode's plugin, hooks",
    ),
    Setting(
        "NSED_AGENT_NAME",
        _TEXT,
        "`--agent` of the call, else OpenCode's, else `claude`",
        "The agent. Without a room, the room is the empty name.",
        "each call, OpenCode's plugin, hooks",
    ),
    Setting(
        "NSED_SESSION_DIR",
        _DIRECTORY,
        "`$HOME/.nsed`, else `%USERPROFILE%\\.nsed`",
        "Where the store is. Without any of the three it is a directory of yours under the"
        " temporary one, with a warning.",
        _BOTH,
    ),
    Setting(
        "NSED_CLAUDE_BIN",
        _PROGRAM,
        "the first `claude` on PATH that is no launcher",
        "The real claude: a path, or a name to look for along PATH. Behind PATH come the usual"
        " places: ~/.local/bin, ~/.claude/local, ~/.npm-global/bin, /usr/local/bin,"
        " ~/node_modules/.bin, ~/.yarn/bin.",
        _BOTH,
    ),
    Setting(
        "NSED_ON_BUSY",
        "wait, fork, fail",
        "as `how-it-works` says",
        "What a call does whose conversation another claude has: wait for it, go on in a fork,"
        " or exit with code 75.",
        _CALL,
    ),
    Setting(
        "NSED_BUSY_TIMEOUT",
        _NUMBER + "seconds",
        "600",
        "How long a call waits for a busy conversation.",
        _CALL,
    ),
    Setting(
        "NSED_KEEP_DAYS",
        _NUMBER + "days",
        "365",
        "For how many idle days a conversation is kept. 0 keeps nothing, and removes what is"
        " kept, of all rooms.",
        "each call, housekeeping",
    ),
    Setting(
        "NSED_SHIM_DISABLE",
        SWITCH,
        "off",
        "Leaves claude alone: no room, no agent.",
        "each call, OpenCode's plugin",
    ),
    Setting(
        "NSED_SHIM_DEBUG",
        SWITCH,
        "off",
        "Explains each decision on stderr.",
        _BOTH,
    ),
    Setting(
        "NSED_SHIM_ROOM",
        _TEXT,
        "not inside a claude of a room",
        "Set for what runs inside: a room that still has this value was inherited, not said.",
        "each call, OpenCode's plugin",
    ),
    Setting(
        "NSED_SHIM_AGENT",
        _TEXT,
        "not inside a claude of a room",
        "The same for the agent.",
        "each call, OpenCode's plugin",
    ),
    Setting(
        "NSED_SHIM_CHAIN",
        _TEXT,
        "no loop so far",
        "Set by the launcher itself, to find wrappers that call it again and again.",
        _CALL,
    ),
)

OTHERS = (
    Setting("PATH", _TEXT, "/bin:/usr/bin", "Where the real claude is looked for.", _BOTH),
    Setting("HOME", _DIRECTORY, "`USERPROFILE` for the store", "Where ~ is.", _BOTH),
    Setting("USERPROFILE", _DIRECTORY, "none", "Where the store is without `HOME`.", _BOTH),
    Setting("TMPDIR", _DIRECTORY, "/tmp", "Where the store is without a home.", _BOTH),
    Setting("USER", _TEXT, "`USERNAME`", "Names the store in `TMPDIR`.", _BOTH),
    Setting("USERNAME", _TEXT, "`unknown`", "The same.", _BOTH),
    Setting("LC_CTYPE", _TEXT, "none", "Is handed on as it was before Python started.", _CALL),
    Setting(
        "CLAUDE_CONFIG_DIR",
        _DIRECTORY,
        "~/.claude",
        "Claude's own directory: transcripts, settings, its registry of sessions.",
        _BOTH,
    ),
    Setting(
        "CLAUDE_CODE_SESSION_ID",
        _TEXT,
        "not inside a claude",
        "Claude's word to the commands it runs; tells calls from inside a conversation.",
        _CALL,
    ),
    Setting(
        "CLAUDE_CODE_CHILD_SESSION",
        _TEXT,
        "not inside a claude",
        "Claude's mark on what it runs, with which an interactive claude would keep nothing.",
        _CALL,
    ),
    Setting(
        "CLAUDE_PID", _NUMBER + "the process", "the parent", "Claude's word to hooks.", "hooks"
    ),
    Setting("OPENCODE", "1", "not under OpenCode", "OpenCode's word to what it starts.", _CALL),
    Setting(
        "OPENCODE_PID",
        _NUMBER + "the process",
        "all ancestors are looked at",
        "Which OpenCode that is.",
        _CALL,
    ),
    Setting(
        "OPENCODE_CONFIG_DIR",
        _DIRECTORY,
        "`opencode` in `XDG_CONFIG_HOME`",
        "Where OpenCode looks for our plugin.",
        _TOOL,
    ),
    Setting("XDG_CONFIG_HOME", _DIRECTORY, "~/.config", "The same.", _TOOL),
    Setting("SHELL", _PROGRAM, "lines for every shell", "Whose start-up line is shown.", _TOOL),
    Setting("NO_COLOR", "anything", "colours on a terminal", "No colours.", _TOOL),
    Setting("TERM", _TEXT, "colours on a terminal", "`dumb`: no colours.", _TOOL),
)

ALL = {setting.name: setting for setting in (*OWN, *OTHERS)}


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
