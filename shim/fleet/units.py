"""What has a system start the fleet's server: a unit for systemd, a property list for launchd."""

from __future__ import annotations

import plistlib
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NAME = "claude-shim-fleet"

_SYSTEMD = """\
[Unit]
Description=The NATS server of claude-shim's fleet

[Service]
{environment}ExecStart={command}
# It says the server's token, which no journal is to have.
StandardOutput=null
Restart=on-failure

[Install]
WantedBy=default.target
"""


def systemd(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """A user's unit that runs a command, with these variables set."""
    settings = [f"Environment={_word(f'{name}={value}')}\n" for name, value in environ.items()]
    # A `$` begins a variable in a command alone.
    words = (_word(word).replace("$", "$$") for word in command)
    return _SYSTEMD.format(environment="".join(settings), command=" ".join(words))


def launchd(command: Sequence[str], environ: Mapping[str, str]) -> str:
    """A user's property list that does the same."""
    agent = {
        "Label": NAME,
        "ProgramArguments": list(command),
        "EnvironmentVariables": dict(environ),
        "RunAtLoad": True,
        "KeepAlive": {"SuccessfulExit": False},
    }
    return plistlib.dumps(agent, sort_keys=False).decode()


def _word(text: str) -> str:
    escaped = re.sub(r'(["\\])', r"\\\1", text.replace("%", "%%"))
    return f'"{escaped}"'
