"""Each command as a process of its own: its streams and exit code are those seen in process."""

import json
import os
import signal
from pathlib import Path

import pytest

from shim.commands.claude_shim import SUBCOMMANDS
from tests.support import console
from tests.support.claude_shim import ask, ask_process
from tests.support.recorder import World
from tests.support.rooms import U, V, entry, store, transcript

# A line for each command, of which nothing depends on the time or the process.
LINES = {
    "install": ["--bin-dir", "bin", "--json"],
    "uninstall": ["--bin-dir", "bin"],
    "init": ["bash"],
    "completion": ["fish"],
    "opencode": ["status", "--json"],
    "status": ["--json"],
    "doctor": ["--help"],
    "explain": ["--json", "--", "-p", "hi"],
    "open": ["--help"],
    "list": ["--json"],
    "show": ["r", "--json"],
    "search": ["word", "--json"],
    "read": ["r"],
    "ps": ["--json"],
    "link": ["other", U[:4], "--json"],
    "forget": ["r", "--json"],
    "delete": ["r", "--yes", "--json"],
    "prune": ["--older-than", "1d", "--dry-run", "--json"],
    "fleet": ["status"],
    "import": ["-", "--json"],
    "export": [],
    "which": ["--json"],
    "version": [],
    "help": ["exit-codes"],
}


def furnished(root: Path, launcher: Path) -> World:
    """A world with two rooms, and a claude."""
    world = World(root, launcher)
    console.set_up(world)
    store(world, {"r": {"claude": entry(U)}, "s": {"a": entry(V)}})
    transcript(world, U)
    return world


def test_each_command_has_a_line() -> None:
    assert sorted(LINES) == sorted(SUBCOMMANDS)


@pytest.mark.parametrize("command", LINES)
def test_a_process_ends_and_prints_as_it_does_in_process(
    tmp_path: Path, launcher_path: Path, command: str
) -> None:
    seen = []
    given = json.dumps({"r": {"b": entry(V)}}).encode()
    for run in (ask, ask_process):
        root = tmp_path / "same"
        root.mkdir()
        done = run(furnished(root, launcher_path), command, *LINES[command], input=given)
        seen.append((done.exit_code, done.stdout, done.stderr))
        root.rename(tmp_path / run.__name__)
    assert seen[0] == seen[1]
    assert seen[0][1] + seen[0][2]


@pytest.mark.parametrize("args", [["list", "--empty"], ["export"], ["help", "callers"]])
def test_one_whose_reader_is_gone_ends_by_sigpipe_and_without_a_word(
    world: World, args: list[str]
) -> None:
    store(world, {f"r{number}": {"claude": entry(U)} for number in range(100)})
    nobody, end = os.pipe()
    os.close(nobody)
    run = ask_process(world, *args, stdout=end)
    os.close(end)
    assert (run.exit_code, run.stderr) == (-signal.SIGPIPE, b"")
