"""What is measured of one thing, and whether it keeps its bar; commands are timed by hyperfine."""

from __future__ import annotations

import json
import shlex
import statistics
import sys
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, field

from benchmark.world import World


@dataclass
class Row:
    """Values in seconds, KiB or plain numbers, and what they may be.

    The bar is one of the ratio to the row named `to`, which must be `at_least` that or, without,
    at most; where there is no such row, it is one of the median.
    """

    name: str
    _: KW_ONLY
    unit: str = "s"
    values: list[float] = field(default_factory=list)
    to: str | None = None
    ratio: float | None = None
    bar: float | None = None
    at_least: bool = False

    @property
    def median(self) -> float:
        """The middle one of the values."""
        return statistics.median(self.values)

    @property
    def misses(self) -> bool:
        """Whether there is a bar, and the row is on the wrong side of it."""
        if self.bar is None:
            return False
        # A ratio as it is printed: its third digit is noise.
        figure = self.median if self.ratio is None else round(self.ratio, 2)
        return figure < self.bar if self.at_least else figure > self.bar


@dataclass
class Timed(Row):
    """A command to time, and the `base` whose ratio counts, in the same environment."""

    command: Sequence[str]
    environ: dict[str, str]
    base: Timed | None = None
    _: KW_ONLY
    runs: int = 10
    prepare: str = ""
    ratios: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.to = self.base.name if self.base else None


def timed(world: World, section: str, table: list[Timed], rounds: int) -> list[Timed]:
    """Time all of the table in every round."""
    for number in range(rounds):
        print(f"{section}: round {number + 1} of {rounds}", file=sys.stderr)
        for row in table:
            _measure(world, row)
    for row in table:
        row.ratio = statistics.median(row.ratios) if row.ratios else None
    return table


def cost(times: list[float]) -> float:
    """What a run costs when nobody is in its way: the mean of the faster half.

    Other processes can only add to a time, and do so to some runs of a round: these are left out
    with the slower half, while the minimum would be the luck of one run. The two that are compared
    run right behind each other, so a machine that is slower for a while is so for both; and of all
    rounds' ratios the median counts, so one disturbed round changes nothing.
    """
    return statistics.fmean(sorted(times)[: (len(times) + 1) // 2])


def _measure(world: World, row: Timed) -> None:
    report = world.root / "report.json"
    hyperfine = ["hyperfine", "-N", "--style=none", f"--runs={row.runs}", f"--export-json={report}"]
    before = ["--prepare", row.prepare] if row.prepare else ["--warmup", "1"]
    commands = [shlex.join(timed.command) for timed in (row.base, row) if timed]
    world.run([*hyperfine, *before, *commands], row.environ, capture_output=True)
    *base, times = (result["times"] for result in json.loads(report.read_text())["results"])
    row.values += times
    row.ratios += [cost(times) / cost(other) for other in base]
