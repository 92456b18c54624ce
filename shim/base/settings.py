"""Every environment variable that claude-shim reads: the table settings.txt.

For each the table has its kind of value, its default, who reads it, and its meaning.
"""

from __future__ import annotations

import difflib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# NSED has variables of its own: only names as similar as this are taken for a misspelling.
_SIMILAR = 0.8
# How the table marks the variables that the shim sets, and nobody else.
_SET_BY_US = "Set "


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
        name, *details = map(str.strip, block.splitlines())
        kind, default, readers = (line.partition(": ")[2] for line in details[:3])
        found[name] = Setting(section, name, kind, default, readers, " ".join(details[3:]))
    return found


def misspelt(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Those of some variables that are misspelt ones of ours, each with the right name."""
    ours = {
        setting.name.replace("_", ""): setting.name
        for setting in table().values()
        if setting.name.startswith("NSED_") and not setting.meaning.startswith(_SET_BY_US)
    }
    for name in sorted(names):
        if name.startswith("NSED") and name not in table():
            plain = name.replace("_", "")
            close = difflib.get_close_matches(plain, ours, n=1, cutoff=_SIMILAR)
            if close:
                yield name, ours[close[0]]


def hint(name: str, meant: str) -> str:
    """What to print about a misspelt variable."""
    return f"{name} is no variable that is read: did you mean {meant}?"


def _is_number(text: str) -> bool:
    try:
        return float(text) >= 0
    except ValueError:
        return False
