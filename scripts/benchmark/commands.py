"""What a person waits for: commands that start, and the whole of a large store listed."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchmark.measuring import Row, Timed, timed
from benchmark.world import MESSAGE, World

MAPPINGS = 100_000
TRANSCRIPTS = 10_000
PROJECTS = 200
ROOMS = 100
CLAUDE_SHIM = str(Path(sys.executable).with_name("claude-shim"))
LISTS = {"list --json": ["list", "--json"], "list --all": ["list", "--all", "--empty"]}


def commands(world: World) -> Iterator[Row]:
    """Short commands beside what importing click costs, and long lists."""
    yield from _short(world)
    yield from _long(world)


def _short(world: World) -> list[Timed]:
    floor = Timed("python, import click", [sys.executable, "-c", "import click"], world.environ())
    store = world.environ(NSED_SESSION_DIR=str(world.store(ROOMS)))
    table = [
        floor,
        Timed("--version", [CLAUDE_SHIM, "--version"], store, floor, bar=1.8),
        Timed("which", [CLAUDE_SHIM, "which"], store, floor, bar=1.8),
        Timed(f"list: {ROOMS} rooms", [CLAUDE_SHIM, "list", "--empty"], store, floor, bar=2.3),
    ]
    return timed(world, "commands", table, rounds=2 if world.quick else 8)


def _long(world: World) -> Iterator[Row]:
    """Each without a transcript, and with many."""
    for transcripts, bar in ((0, 1.2), (TRANSCRIPTS, 3.0)):
        store, home = world.store(MAPPINGS), _home(world, transcripts)
        environ = world.environ(NSED_SESSION_DIR=str(store)) | {"HOME": str(home)}
        for name, args in LISTS.items():
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
    began = time.monotonic()
    world.run([CLAUDE_SHIM, *args], environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.monotonic() - began
