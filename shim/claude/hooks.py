"""Whether claude runs a plugin's hooks, by its options and settings.

Measured on 2.1.197, 2.1.330 and 2.1.331 (help facts, "Hooks").
"""

import posix
import sys

from shim.base import environment, files
from shim.claude.transcripts import config_directory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from shim.claude.invocation import Invocation

_WITHOUT = ("--bare", "--safe-mode")
_VARIABLES = ("CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE")
_DISABLED = "disableAllHooks"
_ONLY_MANAGED = "allowManagedHooksOnly"
_SCOPES = ("user", "project", "local")
_MANAGED = (
    "/Library/Application Support/ClaudeCode" if sys.platform == "darwin" else "/etc/claude-code"
)


def may_run(asked: "Invocation") -> bool:
    """Whether a call's claude runs the hooks of a plugin. In doubt it does not."""
    if any(map(asked.has, _WITHOUT)) or any(map(environment.is_on, _VARIABLES)):
        return False
    managed, own = _managed(), _own(asked)
    texts = [*managed, *own]
    words = [word.encode() for word in (_DISABLED, _ONLY_MANAGED, *_VARIABLES)]
    if not any(word in text for text in texts for word in words):
        return True  # nearly always: no need to parse
    return _allow([_parsed(text) for text in managed], [_parsed(text) for text in own])


def _allow(managed: "list[dict[str, Any]]", own: "list[dict[str, Any]]") -> bool:
    """Whether these settings let hooks run; in each list, the strongest come first."""
    if any(settings.get(_ONLY_MANAGED) is True for settings in managed):
        return False
    for settings in (*managed, *own):
        variables = settings.get("env")
        if isinstance(variables, dict) and any(
            str(variables.get(name, "")) not in ("", "0") for name in _VARIABLES
        ):
            return False
    said = [settings.get(_DISABLED) for settings in (*managed, *own)]
    return next((value is False for value in said if isinstance(value, bool)), True)


def _managed() -> list[bytes]:
    """The settings of the machine's administrator, the strongest first."""
    folder = f"{_MANAGED}/managed-settings.d"
    try:
        names = sorted(posix.listdir(folder), reverse=True)
    except OSError:
        names = []
    paths = [f"{folder}/{name}" for name in names if name.endswith(".json")]
    return [files.read(path) for path in (*paths, f"{_MANAGED}/managed-settings.json")]


def _own(asked: "Invocation") -> list[bytes]:
    """The settings of the caller and the user, the strongest first."""
    given = asked.value("--settings") or ""
    found = [given.encode("utf-8", "surrogateescape") if "{" in given else files.read(given)]
    sources = asked.value("--setting-sources")
    named = _SCOPES if sources is None else sources.replace(" ", "").split(",")
    if "local" in named:
        found.append(files.read(".claude/settings.local.json"))
    if "project" in named:
        found.append(files.read(".claude/settings.json"))
    if "user" in named:
        found.append(files.read(f"{config_directory()}/settings.json"))
    return found


def _parsed(text: bytes) -> "dict[str, Any]":
    from shim.base.json_object import json_object

    return json_object(text)
