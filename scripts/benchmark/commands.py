"""What a person waits for: the whole of a large store listed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark.measuring import Row
from benchmark.world import MESSAGE, World

MAPPINGS = 100_000
TRANSCRIPTS = 10_000
PROJECTS = 200
COMMANDS = {"list --json": ["list", "--json"], "list --all": ["list", "--all", "--empty"]}


def commands(world: World) -> Iterator[Row]:
    """Each without a transcript, and with many."""
    for transcripts, bar in ((0, 1.2), (TRANSCRIPTS, 3.0)):
        store, home = world.store(MAPPINGS), _home(world, transcripts)
        environ = world.environ(NSED_SESSION_DIR=str(store)) | {"HOME": str(home)}
        for name, args in COMMANDS.items():
            row = Row(f"{name}: {MAPPINGS:,} mappings, {transcripts:,} transcripts", bar=bar)
            row.values = [_seconds(world, args, environ) for _ in range(2 if world.quick else 5)]
            yield row


def _home(world: World, count: int) -> Path:
    """A home with transcripts of so many of the store's conversations."""
    projects = [f"-project-{number}" for number in range(PROJECTS)]
    home = world.make_home(f"{count}-transcripts", *projects)
    mappings = json.loads((world.store(MAPPINGS) / "sessions.json").read_text())
    session_ids = [entry["claude"]["uuid"] for entry in mappings.values()]
    for number, session_id in enumerate(session_ids[:count]):
        project = home / ".claude/projects" / projects[number % PROJECTS]
        (project / f"{session_id}.jsonl").write_text(MESSAGE * 10)
    return home


def _seconds(world: World, args: list[str], environ: dict[str, str]) -> float:
    claude_shim = str(Path(sys.executable).with_name("claude-shim"))
    began = time.monotonic()
    world.run([claude_shim, *args], environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began
