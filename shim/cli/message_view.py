"""Messages for people: on a terminal, and as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from shim.base.plain_text import printable
from shim.claude import said
from shim.cli.output import bold, dim, doubtful, local
from shim.cli.tables import shortened, width
from shim.cli.wrapping import broken, plain_lines, wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shim.cli.reading import Utterance

_INDENT = "  "
_ARROW = "→ "
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_HEADING = re.compile(r"#{1,6} +(.*)")
_STRONG = re.compile(r"\*\*(?=\S)(.+?)(?<=\S)\*\*")
# A narrower column cannot be read, and a wider one of text is hard to.
_NARROWEST = 16
_WIDEST = 100


class View:
    """Turns messages into lines as they come, with who speaks above what is said.

    `session_id` is the conversation that is read: what was said in another is marked. For a
    terminal of so many `cells`; without, as Markdown. No line has a control character.
    """

    def __init__(self, session_id: str, cells: int | None) -> None:
        self.session_id = session_id
        self._cells = cells
        self._before: Utterance | None = None

    def lines(self, messages: Iterable[Utterance]) -> Iterator[str]:
        """The lines of the next messages."""
        for message in messages:
            if self._before is not None and not self._is_joined(message):
                yield ""
            if self._begins(message):
                yield from self._heading(message)
            yield from self._on_terminal(message) if self._cells else _as_markdown(message)
            self._before = message

    def _begins(self, message: Utterance) -> bool:
        """Whether who speaks is another than before."""
        if message.said.who == said.NOTE:
            return False
        before = self._before
        return before is None or _speaker(message) != _speaker(before)

    def _is_joined(self, message: Utterance) -> bool:
        """Whether no empty line is between a message and the one before."""
        pair = (self._before and self._before.said.who, message.said.who)
        if self._begins(message) or said.NOTE in pair:
            return False
        return self._cells is not None and pair != (said.CLAUDE, said.CLAUDE)

    def _heading(self, message: Utterance) -> Iterator[str]:
        who = said.USER if message.said.who == said.USER else said.CLAUDE
        when = "" if message.when is None else local(message.when)
        mark = self._mark(message)
        if self._cells:
            line = bold(who) + (f"  {dim(when)}" if when else "")
            has_space = width(line) + width(mark) + len(_INDENT) <= self._cells
            yield line + (f"  {doubtful(mark)}" if mark and has_space else "")
            if not has_space:
                yield from (_INDENT + doubtful(it) for it in wrapped(mark, self._cells - 2))
            return
        yield "## " + ", ".join(filter(None, (who, when, mark)))
        yield ""

    def _mark(self, message: Utterance) -> str:
        """What marks a message that was said elsewhere."""
        if message.is_apart:
            return f"in fork {printable(message.session_id[:8])}, not appended yet"
        if message.session_id != self.session_id:
            return f"from fork {printable(message.session_id[:8])}"
        return ""

    def _on_terminal(self, message: Utterance) -> Iterator[str]:
        cells = max((self._cells or 0) - len(_INDENT), _NARROWEST)
        who, text = message.said
        if who == said.NOTE:
            for line in plain_lines(text):
                yield from (_INDENT + doubtful(piece) for piece in wrapped(f"-- {line}", cells))
        elif who in (said.TOOL, said.RESULT):
            first, *rest = plain_lines(text)
            if who == said.TOOL and not rest:
                yield _INDENT + dim(shortened(_ARROW + first, cells))
                return
            head = _ARROW if who == said.TOOL else _INDENT
            for line in (head + first, *(_INDENT + line for line in rest)):
                yield from (_INDENT + dim(piece) for piece in broken(line, cells))
        else:
            yield from (_INDENT + line if line else "" for line in _rendered(text, cells))


def _speaker(message: Utterance) -> tuple[object, ...]:
    is_users = message.said.who == said.USER
    # A prompt always begins anew, even behind another one.
    return is_users, message.uuid if is_users else "", message.session_id, message.is_apart


def _rendered(text: str, cells: int) -> Iterator[str]:
    """Markdown for a terminal: headings and strong words bold, code unwrapped, the rest wrapped."""
    fence = ""
    for line in plain_lines(text.strip("\n")):
        mark = _FENCE.match(line)
        if mark and (not fence or mark[1].startswith(fence)):
            fence = "" if fence else mark[1]
        elif fence:
            yield from (_INDENT + piece for piece in broken(line, cells - len(_INDENT)))
        elif heading := _HEADING.match(line):
            yield from map(bold, wrapped(heading[1], min(cells, _WIDEST)))
        else:
            # Wrapped first: the marks count, so that no line gets too wide.
            for piece in wrapped(line, min(cells, _WIDEST)):
                yield _STRONG.sub(lambda strong: bold(strong[1]), piece)


def _as_markdown(message: Utterance) -> Iterator[str]:
    who, text = message.said
    lines = plain_lines(text)
    if who == said.NOTE:
        yield from (f"> {line}" for line in lines)
    elif who == said.TOOL and len(lines) == 1:
        yield f"- {lines[0]}"
    elif who in (said.TOOL, said.RESULT):
        longest = max(map(len, re.findall("`+", text)), default=0)
        fence = "`" * max(3, longest + 1)
        yield from (fence, *lines, fence)
    else:
        yield from lines
