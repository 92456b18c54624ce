"""Real OpenCode as a user runs it, in the world of a real claude."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.real_claude import ROOT, TIMEOUT

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping

    from tests.support.real_claude import World

VERSION = "1.18.33"
STAND_IN = "standin/model"
"""The model that the stand-in Messages API plays."""
CLAUDE = "claude/model"
"""The model of a provider that spawns claude: tests/support/opencode_provider.js."""

OFF_THE_NETWORK = {"OPENCODE_DISABLE_MODELS_FETCH": "1", "OPENCODE_DISABLE_AUTOUPDATE": "1"}
_PROVIDER = Path(__file__).with_name("opencode_provider.js")


def binary() -> Path:
    """The real OpenCode of scripts/setup. Raises FileNotFoundError where it is missing."""
    path = ROOT / ".cache" / "bin" / "opencode"
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"there is no real OpenCode at {path}: run scripts/setup")
    return path


class OpenCode:
    """OpenCode in a world's home and directory, with a configuration and no past.

    Its agents may run commands, and `alice` and `bob` are subagents.
    """

    def __init__(self, world: World, api_url: str) -> None:
        self.world = world
        self.config = world.home / ".config" / "opencode"
        self._api_url = api_url
        settle_in(self.config)
        self._configure(STAND_IN)

    def start(
        self,
        prompt: str,
        *options: str,
        model: str = STAND_IN,
        at_once: int = 1,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.Popen[str]:
        """Start `opencode run`, which ends when this model has done all that the prompt asks for.

        The same model is asked for titles. CLAUDE spawns no claude before so many calls have come.
        """
        self._configure(model)
        env = {**OFF_THE_NETWORK, "CALLS_AT_ONCE": str(at_once), **(env or {})}
        return self.world.start("run", *options, prompt, program=binary(), env=env)

    def run(self, prompt: str, *options: str, **how: Any) -> str:
        """The same to its end; what it has printed."""
        return ended(self.start(prompt, *options, **how))

    def run_command(self, *args: str) -> str:
        """What `opencode ARGS…` prints."""
        return ended(self.world.start(*args, program=binary(), env=OFF_THE_NETWORK))

    @property
    def conversations(self) -> dict[str, dict[str, str]]:
        """The session ids that sessions.json has: {room: {agent: session id}}."""
        rooms = json.loads((self.world.store / "sessions.json").read_text())
        return {
            room: {agent: entry["uuid"] for agent, entry in agents.items()}
            for room, agents in rooms.items()
        }

    def _configure(self, model: str) -> None:
        limit = {"context": 200_000, "output": 8192}
        models = {"model": {"name": "model", "tool_call": True, "limit": limit}}
        subagent = {"mode": "subagent", "description": "a subagent"}
        config = {
            "model": model,
            "small_model": model,
            "permission": {"bash": "allow"},
            "agent": {"alice": subagent, "bob": subagent},
            "provider": {
                "standin": {
                    "npm": "@ai-sdk/anthropic",
                    "options": {"baseURL": f"{self._api_url}/v1", "apiKey": "x"},
                    "models": models,
                },
                "claude": {"npm": _PROVIDER.as_uri(), "models": models},
            },
        }
        (self.config / "opencode.json").write_text(json.dumps(config))


def settle_in(directory: Path) -> None:
    """Make a directory of OpenCode's configuration in which it has nothing to install.

    Otherwise it fetches the types for plugins, which none here needs.
    """
    (directory / "node_modules").mkdir(parents=True, exist_ok=True)
    root = {"dependencies": {"@opencode-ai/plugin": VERSION}}
    (directory / "package-lock.json").write_text(json.dumps({"packages": {"": root}}))


def ended(process: subprocess.Popen[str]) -> str:
    """Wait for the end of a process that should succeed; what it has printed."""
    stdout, stderr = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, stderr
    return stdout
