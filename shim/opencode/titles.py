"""What OpenCode calls its sessions, read from its own database."""

from __future__ import annotations

import os

from shim.base import environment
from shim.opencode.command_line import ROOM_PREFIX

# Seconds that it may take another to finish writing.
_PATIENCE = 0.2
# What a session is called until its model has thought of something (OpenCode 1.18.33).
_NOT_YET = ("New session - ", "Child session - ")


def by_room() -> dict[str, str]:
    """The titles of OpenCode's sessions, by the rooms that they give.

    Empty where there is no OpenCode, or its database is not the one of 1.18.33.
    """
    home = environment.get("XDG_DATA_HOME") or environment.in_home(".local/share")
    path = f"{home}/opencode/opencode.db"
    if not os.path.exists(path):
        return {}
    import sqlite3
    from urllib.parse import quote

    try:
        database = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=_PATIENCE)
        try:
            rows = database.execute("SELECT id, title FROM session").fetchall()
        finally:
            database.close()
    except sqlite3.Error:
        return {}
    return {
        f"{ROOM_PREFIX}{session}": title
        for session, title in rows
        if isinstance(title, str) and title and not title.startswith(_NOT_YET)
    }
