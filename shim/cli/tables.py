"""Aligned tables that fit the terminal."""

from __future__ import annotations

import sys
import unicodedata
from typing import TYPE_CHECKING

import click

from shim.base.plain_text import EMOJI_STYLE, JOINER
from shim.cli.output import dim

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    Cut = tuple[int, Callable[[str, int], str]]

_GAP = "  "
_SKIN_TONES = range(0x1F3FB, 0x1F400)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> Iterator[str]:
    """The lines of a table; the columns in `right` are aligned to the right.

    Cells may be coloured. Wide characters count as two cells.
    """
    lines = [tuple(dim(title) for title in header), *rows]
    widths = [max(width(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        yield _GAP.join(
            _padded(cell, widths[column], column in right) for column, cell in enumerate(line)
        ).rstrip()


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Collection[int] = (),
    cuts: Mapping[int, Cut] | None = None,
    leaves: Sequence[int] = (),
) -> None:
    """Print a table: fitted to a terminal's width, elsewhere with tabs between cells.

    On a narrow terminal, columns are cut as by `fit`, then those in `leaves` are dropped one by
    one, then the widest are cut.
    """
    lines = [list(header), *map(list, rows)]
    cells = columns()
    if not cells:
        click.echo("\n".join("\t".join(line) for line in lines))
        return
    left = list(range(len(header)))
    fit(lines, cells, cuts or {})
    for column in leaves:
        if _width_of(lines, left) > cells:
            left.remove(column)
    lines = [[line[column] for column in left] for line in lines]
    _squeeze(lines, cells)
    is_right = [at for at, column in enumerate(left) if column in right]
    click.echo("\n".join(table(lines[0], lines[1:], is_right)))


def columns() -> int | None:
    """The width of the terminal in cells, or None if stdout is no terminal."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns


def fit(lines: Sequence[list[str]], cells: int, cuts: Mapping[int, Cut]) -> None:
    """Cut columns of a table, header included, until its lines fit into so many cells.

    `cuts` has, in order, the columns, each with its least width and the function that cuts a cell.
    """
    every = range(len(lines[0]))
    for column, (least, cut) in cuts.items():
        excess = _width_of(lines, every) - cells
        wide = _width_of(lines, [column])
        if excess > 0 and least < wide:
            for line in lines:
                line[column] = cut(line[column], max(wide - excess, least))


def _width_of(lines: Sequence[Sequence[str]], some: Collection[int]) -> int:
    """The width of some columns in cells."""
    widths = [max(width(line[column]) for line in lines) for column in some]
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _squeeze(lines: Sequence[list[str]], cells: int) -> None:
    """Cut the widest columns until the lines fit, or every column has a single cell."""
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    allowed = list(widths)
    while sum(allowed) + len(_GAP) * (len(allowed) - 1) > cells and max(allowed) > 1:
        allowed[allowed.index(max(allowed))] -= 1
    for line in lines:
        for column, left in enumerate(allowed):
            if left < widths[column]:
                line[column] = shortened(click.unstyle(line[column]), left)


def _padded(cell: str, cells: int, at_the_right: bool) -> str:
    room = " " * (cells - width(cell))
    return room + cell if at_the_right else cell + room


def width(text: str) -> int:
    """The width of a text in cells of a terminal."""
    plain = click.unstyle(text)
    return len(plain) if plain.isascii() else sum(cells for _, cells in _measured(plain))


def shortened(text: str, cells: int) -> str:
    """A text without colours, cut to so many cells, with … at the cut."""
    return text if width(text) <= cells else prefix(text, cells - 1) + "…"


def prefix(text: str, cells: int) -> str:
    """The beginning of a text without colours that fits so many cells."""
    if text.isascii():
        return text[: max(cells, 0)]
    end = 0
    for char, taken in _measured(text):
        cells -= taken
        if cells < 0:
            break
        end += len(char)
    return text[:end].rstrip(JOINER)


def shortened_path(path: str, cells: int) -> str:
    """A path whose beginning is cut to fit so many cells, with … at the cut."""
    kept = path
    while width(kept) > max(cells - (kept != path), 0):
        kept = kept[1:]
    return kept if kept == path else "…" + kept


def _measured(text: str) -> Iterator[tuple[str, int]]:
    """Each character with the cells that it adds; what is joined to an emoji adds none."""
    before, taken = "", 0
    for char in text:
        if before == JOINER or (ord(char) in _SKIN_TONES and taken == 2):
            cells = 0
        elif char == EMOJI_STYLE:
            cells = 2 - taken if taken else 0
        elif unicodedata.category(char) in ("Mn", "Me", "Cf"):
            cells = 0
        else:
            cells = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        yield char, cells
        before = char
        taken = cells or taken
