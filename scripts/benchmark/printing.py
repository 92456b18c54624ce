"""The rows of each section as a table, and as JSON."""

import json
import os
import platform
from pathlib import Path

from benchmark.measuring import Row
from benchmark.world import World


def print_table(sections: dict[str, list[Row]], world: World) -> None:
    """For a person; a row that misses its bar says so."""
    print(f"{'':<50}{'median':>12}{'min':>12}{'max':>12}{'ratio':>8}{'bar':>12}")
    for section, rows in sections.items():
        print(f"\n{section}")
        print(*map(_line, rows), sep="\n")
    for section, rows in sections.items():
        if to := dict.fromkeys(row.to for row in rows if row.to):
            print(f"ratio in {section}: to {'; '.join(to)}")
    for left_out in world.left_out:
        print(f"left out: {left_out}")
    print(_machine(world))


def print_json(sections: dict[str, list[Row]], world: World) -> None:
    """For a program."""
    rows = [
        {
            "section": section,
            "name": row.name.strip(),
            "unit": row.unit or "count",
            "median": row.median,
            "min": min(row.values),
            "max": max(row.values),
            "ratio": row.ratio,
            "ratio_to": row.to,
            "bar": row.bar,
            "at_least": row.at_least,
            "missed": row.misses,
        }
        for section, its_rows in sections.items()
        for row in its_rows
    ]
    report = {"machine": _machine(world), "left_out": world.left_out, "rows": rows}
    print(json.dumps(report, indent=2))


def _line(row: Row) -> str:
    figures = [row.median, min(row.values), max(row.values)][: 3 if len(row.values) > 1 else 1]
    line = f"{row.name:<50}" + "".join(f"{_shown(value, row.unit):>12}" for value in figures)
    if row.ratio is not None:
        line = f"{line:<86}{row.ratio:>8.2f}"
    if row.bar is not None:
        bar = f"{row.bar:g}" if row.ratio is not None else _shown(row.bar, row.unit)
        line = f"{line:<94}{('>= ' if row.at_least else '<= ') + bar:>12}"
    return line + ("  missed" if row.misses else "")


def _shown(value: float, unit: str) -> str:
    if unit == "s":
        digits = 2 if value < 0.001 else 1
        return f"{value:.2f} s" if value >= 10 else f"{1000 * value:.{digits}f} ms"
    return f"{value:.0f} {unit}".strip()


def _machine(world: World) -> str:
    """The machine and what ran on it, in one line."""
    processor = Path("/proc/cpuinfo").read_text().partition("model name")[2]
    name = processor.partition(":")[2].partition("\n")[0].strip()
    version = world.run([world.python, "-V"], world.environ(), capture_output=True).stdout.strip()
    return (
        f"{name}, {os.cpu_count()} cores, Linux {platform.release().split('-')[0]},"
        f" {version}; load at the end {os.getloadavg()[0]:.1f}"
    )
