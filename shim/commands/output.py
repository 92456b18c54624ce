"""What the subcommands show: aligned tables, names made safe to print, ages, sizes and JSON."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
import time
import unicodedata
from typing import TYPE_CHECKING, Any

import click

from shim import environment

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    Cut = tuple[int, Callable[[str, int], str]]

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

_GAP = "  "
_JOINER = "\u200d"
_EMOJI_STYLE = "\ufe0f"
_SKIN_TONES = range(0x1F3FB, 0x1F400)
# Cc, Cf: what moves the cursor, turns the writing direction or is not seen; Cs: half a character;
# Zl, Zp: line ends.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# The same, though Unicode has them among letters and marks: fillers and variation selectors.
_FILLERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))
)

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_AGES = (
    (_MINUTE, 1, "s"),
    (_HOUR, _MINUTE, "min"),
    (2 * _DAY, _HOUR, "h"),
    (60 * _DAY, _DAY, "days"),
    (730 * _DAY, 30.44 * _DAY, "months"),
)
_YEAR = 365.25 * _DAY


def show_json(value: Any) -> None:
    """Print a value as JSON, whatever its strings hold and stdout can."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2)
    click.echo(text)


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[int] = ()
) -> Iterator[str]:
    """The lines of a table; `right` are the columns whose cells stand at the right.

    Cells may be coloured. Wide characters count as the two cells that a terminal gives them.
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
) -> None:
    """Print a table; on a terminal its lines fit, as far as `cuts` lets them, as in `fit`."""
    lines = [list(header), *map(list, rows)]
    if cells := columns():
        fit(lines, cells, cuts or {})
    for line in table(lines[0], lines[1:], right):
        click.echo(line)


def columns() -> int | None:
    """How many cells a line has, or None where stdout is no terminal: as many as it takes."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def fit(lines: Sequence[list[str]], cells: int, cuts: Mapping[int, Cut]) -> None:
    """Cut columns of a table, header included, so that its lines fit into so many cells.

    `cuts` says which, in this order: the least cells that are left of one, and how it is cut.
    """
    widths = [max(map(width, column)) for column in zip(*lines, strict=True)]
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - cells
    for column, (least, cut) in cuts.items():
        left = max(widths[column] - excess, least)
        if excess > 0 and left < widths[column]:
            for line in lines:
                line[column] = cut(line[column], left)
            excess -= widths[column] - max(width(line[column]) for line in lines)


def _padded(cell: str, cells: int, at_the_right: bool) -> str:
    room = " " * (cells - width(cell))
    return room + cell if at_the_right else cell + room


def width(text: str) -> int:
    """How many cells of a terminal a text takes."""
    plain = click.unstyle(text)
    return len(plain) if plain.isascii() else sum(cells for _, cells in _measured(plain))


def shortened(text: str, cells: int) -> str:
    """A text without colours, cut to so many cells of a terminal, with … where it was cut."""
    if width(text) <= cells:
        return text
    kept, left = "", cells - 1
    for char, taken in _measured(text):
        left -= taken
        if left < 0:
            break
        kept += char
    return kept.rstrip(_JOINER) + "…"


def shortened_path(path: str, cells: int) -> str:
    """A path cut to so many cells of a terminal, with … where its beginning was."""
    kept = path
    while width(kept) > max(cells - (kept != path), 0):
        kept = kept[1:]
    return kept if kept == path else "…" + kept


def _measured(text: str) -> Iterator[tuple[str, int]]:
    """Each character with the cells it takes beyond those before it.

    What is joined to an emoji is drawn in its place.
    """
    before, taken = "", 0
    for char in text:
        if before == _JOINER or (ord(char) in _SKIN_TONES and taken == 2):
            cells = 0
        elif char == _EMOJI_STYLE:
            cells = 2 - taken if taken else 0
        elif unicodedata.category(char) in ("Mn", "Me", "Cf"):
            cells = 0
        else:
            cells = 2 if unicodedata.east_asian_width(char) in "WF" else 1
        yield char, cells
        before = char
        taken = cells or taken


def printable(text: str) -> str:
    """A text as one line in which everything shows: what would not is escaped as in Python."""
    if text.isascii() and text.isprintable():
        return text
    escaped = [
        char.encode("unicode_escape").decode() if _is_unseen(text, at) else char
        for at, char in enumerate(text)
    ]
    return "".join(escaped)


def _is_unseen(text: str, at: int) -> bool:
    char = text[at]
    if char == _JOINER:
        return not (0 < at < len(text) - 1 and _is_emoji(text[at - 1]) and _is_emoji(text[at + 1]))
    return char in _FILLERS or unicodedata.category(char) in _UNSEEN


def _is_emoji(char: str) -> bool:
    return char == _EMOJI_STYLE or unicodedata.category(char) in ("So", "Sk")


def name(text: str) -> str:
    """A room or agent as one line; in quotes where its ends could not be seen otherwise."""
    shown = printable(text)
    return shown if shown and shown == shown.strip() else f'"{shown}"'


def shell_word(word: str) -> str:
    """A word to copy into a shell, as one line in which everything shows."""
    if printable(word) == word:
        return shlex.quote(word)
    # As bash, zsh and POSIX of 2024 read it.
    escaped = "".join(
        char
        if char.isascii() and char.isprintable() and char not in "'\\"
        else "".join(f"\\x{byte:02x}" for byte in _bytes(char))
        for char in word
    )
    return f"$'{escaped}'"


def _bytes(char: str) -> bytes:
    """A character of a path, or of a name, which can be half a character: the store's `?`."""
    try:
        return char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"?"


def age(seconds: float) -> str:
    """How long ago something was: `3 min ago`."""
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A length of time: `3 min`."""
    for limit, unit, unit_name in _AGES:
        if seconds < limit:
            return f"{int(seconds / unit)} {unit_name}"
    return f"{int(seconds / _YEAR)} years"


def size(count: float) -> str:
    """A number of bytes: `1.2 MB`."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 999.5 and (larger := next(units, None)):
        count, unit = count / 1000, larger
    return f"{count:.1f} {unit}" if unit != "B" and count < 9.95 else f"{count:.0f} {unit}"


def at_home(path: str) -> str:
    """A path as one line, with the user's home directory as ~."""
    home = environment.in_home("").rstrip("/")
    is_below = path == home or path.startswith(home + "/")
    return printable("~" + path[len(home) :] if home and is_below else path)


def local(seconds: float) -> str:
    """A time of the system's clock as people here read it: `2026-01-02 03:04:05`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def iso(seconds: float | None) -> str | None:
    """A time of the system's clock as programs read it: `2026-01-02T03:04:05Z`."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def dim(text: str) -> str:
    """For what is beside the point."""
    return _styled(text, dim=True)


def good(text: str) -> str:
    """For what is well, or alive."""
    return _styled(text, fg="green")


def doubtful(text: str) -> str:
    """For what a person should look at."""
    return _styled(text, fg="yellow")


def bad(text: str) -> str:
    """For what is wrong."""
    return _styled(text, fg="red")


def bold(text: str) -> str:
    """For what matters most."""
    return _styled(text, bold=True)


def _styled(text: str, **style: Any) -> str:
    # https://no-color.org; click itself leaves colours out where the output is no terminal.
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return text
    return click.style(text, **style)
