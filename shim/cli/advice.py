"""Advice on each warning and error: the table `advice.txt`, read and searched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

# A wildcard in a message of the table.
PLACE = "…"


@dataclass(frozen=True)
class Advice:
    """What to do about one or more messages of the same meaning."""

    section: str
    messages: tuple[str, ...]
    what_to_do: str

    def is_about(self, message: str) -> bool:
        """Whether a printed line contains one of these messages."""
        return any(re.search(_pattern(each), message) for each in self.messages)


def everything() -> list[Advice]:
    """The table: `# SECTION` lines, and blocks of messages with the advice indented below."""
    found, section = [], ""
    for block in Path(__file__).with_suffix(".txt").read_text("utf-8").split("\n\n"):
        if block.startswith("# "):
            section, _, block = block[2:].partition("\n")
        lines = block.splitlines()
        messages = tuple(line for line in lines if not line.startswith(" "))
        what_to_do = " ".join(line.strip() for line in lines if line.startswith(" "))
        found.append(Advice(section, messages, what_to_do))
    return found


def about(message: str) -> Advice | None:
    """The advice that fits a message best, or None."""
    fitting = [advice for advice in everything() if advice.is_about(message)]
    return max(fitting, key=lambda it: max(map(len, it.messages)), default=None)


def markdown() -> str:
    """The table as Markdown."""
    parts = []
    for section, group in groupby(everything(), key=lambda it: it.section):
        parts.append(f"## {section}")
        for it in group:
            # Backquotes within backquotes would end them.
            messages = "; ".join(f"`{message.replace('`', '')}`" for message in it.messages)
            parts.append(f"- {messages}: {it.what_to_do}")
    return "\n\n".join(parts)


def _pattern(message: str) -> str:
    return ".*".join(map(re.escape, re.split(f"{PLACE}+", message)))
