"""A directory with the launcher, a stand-in for claude, transcripts, and stores of any size."""

import json
import os
import random
import shutil
import string
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shim.base.session_key import DEFAULT_AGENT, SessionKey
from shim.claude import cli_spec, transcripts
from shim.install import launcher
from shim.store import plugin_links

TRUE = str(shutil.which("true"))
SESSION_ID = "00000000-0000-4000-8000-000000000001"
STAMP = "2026-11-22T16:26:24.123456789Z"
MESSAGE = '{"type":"user","message":{"role":"user","content":"hello"}}\n'
TIMEOUT = 120
"""Seconds for anything that should end."""

FLOOR = "python -IS, one execve"
UNTOUCHED = "no room: untouched"


class World:
    """The stand-in is `true`: the end of each call costs what the end of the floor's does."""

    def __init__(self, root: Path, quick: bool) -> None:
        self.root = root
        self.quick = quick
        self.left_out: list[str] = []
        self.work = root / "work"
        self.work.mkdir()
        self.launcher = root / "bin/claude"
        self.hook = root / "bin/.claude-shim-plugin/follow"
        claude_shim = Path(sys.executable).with_name("claude-shim")
        install = [str(claude_shim), "install", "--bin-dir", str(root / "bin")]
        subprocess.run(install, check=True, capture_output=True)
        self.program = str(root / "bin/.claude-shim-program.py")
        maker = launcher.maker(self.launcher.parent)
        assert maker
        self.python = maker.python
        script = root / "floor.py"
        script.write_text(f"import os\nos.execve({TRUE!r}, ['true'], os.environ)\n")
        self.floor = [self.python, "-IS", str(script)]
        self.call = [str(self.launcher), "-p", "hello"]
        # What Python is told by the launcher: see launcher.c.
        self.handed = [self.program, str(self.launcher), "", "", TRUE, "claude", "-p", "hello"]
        self.project = transcripts.project_name(str(self.work))
        self.home = self.make_home("home", self.project)

    def make_home(self, name: str, *projects: str) -> Path:
        """A home where the conversation is in the last of these projects."""
        home = self.root / name
        for project in projects:
            (home / ".claude/projects" / project).mkdir(parents=True)
        transcript = home / ".claude/projects" / projects[-1] / f"{SESSION_ID}.jsonl"
        transcript.write_text(MESSAGE * 1000)
        return home

    def run(
        self, command: Sequence[str], environ: dict[str, str], **how: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end in the directory to work in; it must succeed."""
        return subprocess.run(command, check=True, env=environ, cwd=self.work, text=True, **how)

    def environ(self, **variables: str) -> dict[str, str]:
        """The whole environment of a call."""
        base = {"HOME": str(self.home), "PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        return {**base, "NSED_CLAUDE_BIN": TRUE, **variables}

    def known(self, entries: int, place: str = "middle") -> dict[str, str]:
        """The environment of a call whose room is among so many, and its transcript there."""
        store = self.store(entries)
        number = {"first": 0, "middle": entries // 2, "last": entries - 1}[place]
        return self.environ(NSED_SESSION_DIR=str(store), NSED_ROOM_ID=rooms_of(store)[number])

    def hooked(self, known: dict[str, str]) -> dict[str, str]:
        """The environment of a hook of the claude that such a call becomes."""
        key = SessionKey(known["NSED_ROOM_ID"].encode(), DEFAULT_AGENT.encode())
        plugin = str(self.hook.parent)
        link = plugin_links.ensure(known["NSED_SESSION_DIR"], key, plugin, "following")
        assert link
        return {**known, "CLAUDE_PLUGIN_ROOT": link}

    def store(self, entries: int) -> Path:
        """A store with rooms named as OpenCode's are, each with an id of its own but three."""
        store = self.root / f"store-{entries}"
        if store.exists():
            return store
        draw = random.Random(entries)
        rooms = {}
        for number in range(entries):
            letters = "".join(draw.choices(string.ascii_letters + string.digits, k=14))
            session_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
            if number in (0, entries // 2, entries - 1):
                session_id = SESSION_ID
            rooms[f"oc-ses_{draw.getrandbits(48):012x}{letters}"] = session_id
        write_store(store, rooms)
        self.run(
            self.call, self.environ(NSED_SESSION_DIR=str(store), NSED_ROOM_ID=next(iter(rooms)))
        )
        # As after `claude --help` of the real one, which the stand-in knows nothing of.
        (failed,) = (store / "surfaces").glob("*.failed")
        failed.with_suffix("").write_text(cli_spec.built_in().text)
        failed.unlink()
        return store


def write_store(store: Path, rooms: dict[str, str]) -> None:
    """Make a store that has these session ids, by room."""
    store.mkdir(mode=0o700)
    entries = {r: {"claude": {"uuid": u, "last_used": STAMP}} for r, u in rooms.items()}
    (store / "sessions.json").write_text(json.dumps(entries, indent=2))
    (store / "sessions.json").chmod(0o600)


def rooms_of(store: Path) -> list[str]:
    """The rooms in a store, in its order."""
    return list(json.loads((store / "sessions.json").read_text()))


def known_key(size: int) -> str:
    """The name of the row of a call whose key is known, in a store of that many entries."""
    return f"known key, {size:,} {'entry' if size == 1 else 'entries'}"
