"""What to do about each warning and error: the table `advice.txt`, read and searched."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

# Stands in a message of the table for any words.
PLACE = "…"


@dataclass(frozen=True)
class Advice:
    """What to do about some messages that mean the same."""

    section: str
    messages: tuple[str, ...]
    what_to_do: str

    def is_about(self, message: str) -> bool:
        """Whether a line that was printed, or a part of it, is one of these messages."""
        return any(re.search(_pattern(each), message) for each in self.messages)


def everything() -> list[Advice]:
    """The whole table: `# SECTION` lines, and blocks of messages with what to do indented below."""
    found, section = [], ""
    text = Path(__file__).with_suffix(".txt").read_text("utf-8")
    for block in text.strip().split("\n\n"):
        lines = block.splitlines()
        if lines[0].startswith("# "):
            section = lines.pop(0)[2:]
        messages = tuple(line for line in lines if not line.startswith(" "))
        what_to_do = " ".join(line.strip() for line in lines if line.startswith(" "))
        found.append(Advice(section, messages, what_to_do))
    return found


def about(message: str) -> Advice | None:
    """The advice on a message, the one whose words say most of it, or None."""
    fitting = [advice for advice in everything() if advice.is_about(message)]
    return max(fitting, key=lambda it: max(map(len, it.messages)), default=None)


def markdown() -> str:
    """The table as a part of a page."""
    parts, section = [], ""
    for advice in everything():
        if advice.section != section:
            section = advice.section
            parts.append(f"## {section}\n")
        parts.append(f"- {'; '.join(f'`{m}`' for m in advice.messages)}: {advice.what_to_do}\n")
    return "\n".join(parts)


def _pattern(message: str) -> str:
    return ".*".join(map(re.escape, re.split(f"{PLACE}+", message)))
