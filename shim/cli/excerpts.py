"""The lines of a message that have the words, cut to fit and highlighted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shim.base.plain_text import printable
from shim.cli.output import highlighted
from shim.cli.tables import prefix, width

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shim.claude.text_search import Span

    Piece = tuple[str, bool]
    """A part of a line, and whether it is one of the words."""

_CUT = "…"
# Characters around a word that are looked at: more do not fit any screen.
_AROUND = 2000
_TAB = "    "


def excerpts(text: str, spans: Sequence[Span], cells: int | None, most: int) -> list[str]:
    """The lines that have words, at most so many, each within so many cells if there is a limit.

    A word that goes over several lines is shown in its first one.
    """
    shown: list[str] = []
    at = -1
    for start, _ in spans:
        if start < at or len(shown) == most:
            continue  # it is on the line before
        begin = text.rfind("\n", 0, start) + 1
        end = text.find("\n", start)
        at = len(text) if end < 0 else end
        shown.append(_line(text, begin, at, spans, cells))
    return shown


def _line(text: str, begin: int, end: int, spans: Sequence[Span], cells: int | None) -> str:
    first = next(start for start, _ in spans if start >= begin)
    left = max(begin, first - _AROUND) if cells else begin
    right = min(end, first + _AROUND) if cells else end
    pieces: list[Piece] = []
    at = left
    for start, stop in spans:
        if start >= right or stop <= left:
            continue
        pieces += [(text[at:start], False), (text[start : min(stop, right)], True)]
        at = min(stop, right)
    pieces.append((text[at:right], False))
    plain = [(printable(it.replace("\t", _TAB)), is_word) for it, is_word in pieces]
    plain[0] = (plain[0][0].lstrip(), plain[0][1])
    return _fitted(plain, cells) if cells else "".join(map(_styled, plain))


def _fitted(pieces: list[Piece], cells: int) -> str:
    """Pieces as one line, with the first word in sight."""
    before = pieces[0][0]
    whole = sum(width(text) for text, _ in pieces)
    if whole > cells:
        word = width(pieces[1][0]) if len(pieces) > 1 else 0
        # As much before the word as leaves the line full.
        spare = max(cells // 3, cells - (whole - width(before)) - 1, 0)
        pieces[0] = (_end_of(before, min(spare, max(cells - word - 2, 0))), False)
    shown, left = "", cells
    for number, (text, is_word) in enumerate(pieces):
        rest = sum(width(each) for each, _ in pieces[number:])
        if rest <= left:
            return shown + "".join(map(_styled, pieces[number:]))
        fitting = prefix(text, left - 1) if width(text) > left - 1 else text
        shown += _styled((fitting, is_word))
        left -= width(fitting)
        if fitting != text:
            break
    return shown + _CUT


def _end_of(text: str, cells: int) -> str:
    """The end of a text that fits so many cells, with … at the cut."""
    if width(text) <= cells:
        return text
    while text and width(text) > max(cells - 1, 0):
        text = text[max(1, (width(text) - cells) // 2) :]
    return _CUT + text


def _styled(piece: Piece) -> str:
    text, is_word = piece
    return highlighted(text) if is_word and text else text
