"""The `console` blocks of the README and of the manual show what is printed."""

import sys
from pathlib import Path

import pytest

from tests.support import console
from tests.support.recorder import World

BLOCKS = console.blocks()
RECIPES = console.recipes()
TALK = """
print(ask("thread-1", "Remember the word heron"))
print(ask("thread-2", "Remember the word crane"))
print(ask("thread-1", "Which word was it?"))
"""


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{it.path.stem}:{it.line}" for it in BLOCKS])
def test_a_block_shows_what_is_printed(world: World, block: console.Block) -> None:
    console.set_up(world)
    printed = console.typed(world, block)
    for (command, shown), lines in zip(block.steps, printed, strict=True):
        assert console.agree(shown, lines), "\n".join(
            [f"$ {command}", "--- shown", *shown, "--- printed", *lines]
        )


@pytest.mark.parametrize("code", [it for _, it in RECIPES if "subprocess" in it])
def test_a_bot_of_the_recipe_remembers_what_was_said_in_a_thread(world: World, code: str) -> None:
    console.set_up(world)
    world.run("install", program=world.home / ".local" / "bin" / "claude-shim")
    run = world.run("-c", code + TALK, program=Path(sys.executable))
    assert (run.stdout, run.stderr) == (b"OK\nOK\nheron\n", b"")


def test_every_recipe_in_python_is_run_here_or_in_the_tests_on_real_claude() -> None:
    bots = [path.stem for path, code in RECIPES if "subprocess" in code]
    programs = [path.stem for path, code in RECIPES if "claude_agent_sdk" in code]
    assert (bots, programs) == (["README", "bots"], ["bots", "fleet"])
    assert len(RECIPES) == 4


@pytest.mark.parametrize(
    ("shown", "printed", "is_it"),
    [
        (["a  b"], ["a b"], True),
        (["a"], ["a", "b"], False),
        (["a", "…"], ["a", "b", "c"], True),
        (["a", "…", "c"], ["a", "c"], True),
        (["a … c"], ["a b c"], True),
        (["a … c"], ["a", "c"], False),
        (["3 min ago, 48 kB"], ["2 s ago, 1.2 MB"], True),
        (["e02e610b-76e2-53bd-9543-ea295dd26fc7"], ["none"], False),
    ],
)
def test_what_may_differ(shown: list[str], printed: list[str], is_it: bool) -> None:
    assert console.agree(shown, printed) == is_it
