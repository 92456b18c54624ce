"""Two hosts of a fleet on one machine: a home each, and one server between them."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

from shim.fleet import daemon_client
from tests.support.real_claude import VERSION, World, wait_until

if TYPE_CHECKING:
    from pathlib import Path

Json = dict[str, Any]


class Host(World):
    """A machine of its own with the launcher, claude and a sync daemon, that belongs to a fleet."""

    def __init__(
        self, root: Path, api_url: str, launcher: Path, fleet: str, version: str = VERSION
    ) -> None:
        super().__init__(root, api_url, launcher, version)
        self._environment["NSED_FLEET_URL"] = fleet

    def seal_with(self, keys: Path) -> None:
        """Name a file of keys to every call."""
        self._environment["NSED_FLEET_KEY_FILE"] = str(keys)

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self.kill_daemon()

    def status(self) -> Json:
        """What the sync daemon reports of itself; empty where there is none."""
        try:
            return daemon_client.ask(str(self.store), "status", starts=False)
        except daemon_client.Unanswered:
            return {}

    @property
    def daemon(self) -> int | None:
        """The sync daemon's pid, if one runs."""
        try:
            pid = int((self.store / "courier.lock").read_text() or 0)
        except FileNotFoundError:
            return None
        return pid if pid and os.path.exists(f"/proc/{pid}") else None

    def kill_daemon(self) -> None:
        """SIGKILL the sync daemon, and wait until it is gone."""
        pid = self.daemon
        if pid is not None:
            os.kill(pid, signal.SIGCONT)
            os.kill(pid, signal.SIGKILL)
            wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the sync daemon's end")

    def wait_until_given_back(self) -> None:
        """Wait until this host holds no conversation, and has nothing to append."""
        wait_until(lambda: self.status().get("conversations") == [], "everything given back")

    def log(self) -> str:
        """What the sync daemon has logged."""
        try:
            return (self.store / "courier.log").read_text()
        except FileNotFoundError:
            return ""

    def note(self, session_id: str) -> Json:
        """What the sync daemon has noted of a conversation."""
        note: Json = json.loads((self.store / "fleet" / f"{session_id}.json").read_text())
        return note
