"""Text of others for a terminal: no control character, and no line wider than the screen."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shim.base.plain_text import printable
from shim.cli.tables import prefix, width

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAB = 4
_INDENT = re.compile(r" *(?:(?:[-*+>]|\d{1,3}[.)]) +)*")
# What is left of a line for its text, at least.
_NARROWEST = 8


def plain_lines(text: str) -> list[str]:
    """The lines of a text, without tabs and other control characters."""
    # `splitlines` would also split at characters that are to be shown.
    each = text.replace("\r\n", "\n").split("\n")
    return [printable(line.expandtabs(_TAB)) for line in each]


def wrapped(line: str, cells: int) -> Iterator[str]:
    """A line in pieces of so many cells; what begins with a mark of a list hangs."""
    indent = _INDENT.match(line)
    hang = " " * min(width(indent[0]) if indent else 0, max(cells - _NARROWEST, 0))
    while width(line) > cells:
        piece = prefix(line, cells)
        rest = line[len(piece) :]
        at = len(piece)
        if not rest.startswith(" ") and not (_is_wide(piece[-1:]) and _is_wide(rest[:1])):
            at = piece.rfind(" ")
        if at <= len(hang) or not piece[:at].strip():
            at = max(len(piece), 1)  # there is no space behind the indentation
        yield line[:at].rstrip()
        line = hang + line[at:].lstrip(" ")
        if line == hang:
            return
    yield line


def _is_wide(char: str) -> bool:
    """Whether a line may break at a character, as between those of Chinese."""
    return width(char) == 2


def broken(line: str, cells: int) -> Iterator[str]:
    """A line in pieces of so many cells, every character as it is: for code."""
    while width(line) > cells:
        piece = prefix(line, cells) or line[0]
        yield piece
        line = line[len(piece) :]
    yield line
