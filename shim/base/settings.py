"""Every environment variable that claude-shim reads: the table settings.txt.

For each the table has its kind of value, its default, who reads it, and its meaning.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Setting:
    """An environment variable. Empty means unset."""

    section: str
    name: str
    kind: str
    """What it takes: `text`, `a number of …`, `a path from / on`, or words with commas between."""
    default: str
    readers: str
    meaning: str

    def fault(self, value: str) -> str:
        """Why a value cannot be used, to print after it; empty where it can."""
        if ", " in self.kind and value not in self.kind.split(", "):
            return f"is none of {self.kind}: taken as unset"
        if self.kind.startswith("a number of ") and not _is_number(value):
            return f"is no {self.kind[2:]}: taken as unset"
        if self.kind == "a path from / on" and not os.path.isabs(value):
            return "is another directory wherever you are"
        return ""


@cache
def table() -> dict[str, Setting]:
    """Every variable by its name, ours first."""
    found, section = {}, ""
    for block in Path(__file__).with_suffix(".txt").read_text("utf-8").split("\n\n"):
        if block.startswith("# "):
            section, _, block = block[2:].partition("\n")
        name, *told = map(str.strip, block.splitlines())
        kind, default, readers = (line.partition(": ")[2] for line in told[:3])
        found[name] = Setting(section, name, kind, default, readers, " ".join(told[3:]))
    return found


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
