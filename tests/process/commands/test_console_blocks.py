"""The `console` blocks of the README and of the book show what is printed."""

import pytest

from tests.support import console
from tests.support.recorder import World

BLOCKS = console.blocks()


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{it.path.stem}:{it.line}" for it in BLOCKS])
def test_a_block_shows_what_is_printed(world: World, block: console.Block) -> None:
    console.set_up(world)
    printed = console.typed(world, block)
    for (command, shown), lines in zip(block.steps, printed, strict=True):
        assert console.agree(shown, lines), "\n".join(
            [f"$ {command}", "--- shown", *shown, "--- printed", *lines]
        )


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
