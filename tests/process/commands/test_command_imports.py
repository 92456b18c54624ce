"""What a subcommand costs: the modules it imports."""

import json
import sys
from pathlib import Path

import pytest

from tests.support.recorder import World, derived

PROGRAM = """\
import json, sys
from shim.commands.__main__ import main
try:
    main()
finally:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""

HEAVY = {"psutil", "filelock", "subprocess", "sqlite3", "difflib"}


def imported(world: World, *args: str) -> set[str]:
    run = world.run("-c", PROGRAM, *args, program=Path(sys.executable))
    assert run.exit_code == 0, run.stderr
    return {name.partition(".")[0] for name in json.loads(run.lines[-1])}


@pytest.mark.parametrize("words", [["--version"], ["version"], ["init", "bash"]])
def test_what_needs_no_store_imports_nothing_heavy(world: World, words: list[str]) -> None:
    assert imported(world, *words) & HEAVY == set()


def test_which_runs_the_launcher_and_imports_nothing_else(world: World) -> None:
    assert imported(world, "which") & HEAVY == {"subprocess"}


def test_a_list_without_live_claudes_imports_nothing_heavy(world: World) -> None:
    world.map("r", "claude", derived("r"))
    world.transcript(derived("r"))
    assert imported(world, "list") & HEAVY == set()
