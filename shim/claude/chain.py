"""A conversation's chain of lines: where claude would resume it, and its finished turns.

Each line names the one before it in `parentUuid`. What claude (2.1.197, 2.1.330) makes of a file
was read in its programs and measured; help facts, "Catching up".
"""

from __future__ import annotations

import os

from shim.claude import lines, notice

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container
    from typing import BinaryIO

    from shim.claude.lines import Entry, Line

_CONTINUE = "Continue from where you left off."
_CAVEAT = "<local-command-caveat>"
_SHELL = "<bash-"
_STOPPED_TASK = "<status>stopped</status>"
# Attachments that tell the model in which state its own claude is: of no meaning in another
# conversation, and a `prompt_snapshot` would replace the persona there.
_STATES = (
    "agent_listing_delta",
    "auto_mode",
    "auto_mode_exit",
    "command_permissions",
    "critical_system_reminder",
    "date",
    "date_change",
    "deferred_tools_delta",
    "environment",
    "fork_briefing",
    "mcp_instructions_delta",
    "model",
    "output_style",
    "plan_mode",
    "plan_mode_exit",
    "plan_mode_reentry",
    "prompt_snapshot",
    "remote_session_change",
    "session_context",
    "skill_listing",
)
# Bytes of a transcript's end that are read first.
_TAIL = 1 << 17
_ENDS = (lines.INTERRUPTION, lines.STOPPED)


class Row:
    """A line that has a place in the chain."""

    __slots__ = ("ids", "kind", "line", "parent", "uuid")

    def __init__(self, line: Line) -> None:
        entry = line.entry
        self.line = line
        self.uuid: str = entry["uuid"]
        # The name that claude (2.1.330) knows a prompt by once it is sent.
        sent_as = entry.get("sentAsUuid")
        self.ids = (self.uuid, sent_as) if isinstance(sent_as, str) else (self.uuid,)
        parent = entry.get("parentUuid") or entry.get("logicalParentUuid")
        self.parent: str | None = parent if isinstance(parent, str) else None
        self.kind = lines.kind(entry)

    @property
    def entry(self) -> Entry:
        """Its JSON object."""
        return self.line.entry


class Turn:
    """A finished turn: the rows that belong to it, in order, the one that ends it last."""

    __slots__ = ("ended", "path", "rows", "within")

    def __init__(self, path: str, rows: list[Row], within: dict[str, Row]) -> None:
        self.path = path
        self.rows = rows
        # All rows by their ids, those that belong to no turn included.
        self.within = within
        self.ended = str(rows[-1].entry.get("timestamp") or "")
        """When it ended, as claude writes it: RFC 3339 in UTC, of one length, so that it sorts."""

    @property
    def id(self) -> str:
        """What the turn is known by: the uuid of the row that ends it."""
        return self.rows[-1].uuid

    @property
    def prompt(self) -> str:
        """What began it, in words."""
        first = self.rows[0].entry
        return lines.prompt(first) or lines.text(first).strip()

    @property
    def answer(self) -> str:
        """What the model said in it, without tool calls."""
        said = (lines.text(row.entry) for row in self.rows if row.kind == lines.ANSWER)
        return "\n".join(filter(None, map(str.strip, said)))

    def ancestor(self, row: Row, known: Container[str]) -> str | None:
        """The nearest id among the known ones that a row follows, left-out rows between them."""
        seen = set()
        parent = row.parent
        while parent is not None and parent not in seen:
            if parent in known:
                return parent
            seen.add(parent)
            above = self.within.get(parent)
            parent = above.parent if above else None
        return None


class Chain:
    """The rows of a transcript from a place on, and what claude would make of them."""

    def __init__(self, file: BinaryIO, path: str, start: int = 0, stop: int | None = None) -> None:
        self.path = path
        self.end = start
        """Where the last whole line ends."""
        self.has_compaction = False
        self.rows: dict[str, Row] = {}
        """By each of their ids."""
        last: Row | None = None
        rewind: Entry = {}
        checkpoint: Entry = {}
        for line in lines.forward(file, start, stop):
            if not line.is_whole and not line.entry:
                break  # torn, or being written
            self.end = line.end
            if b'"uuid"' in line.content and lines.is_of_conversation(line.entry):
                last, rewind = Row(line), {}
                for each in last.ids:
                    # 2.1.197 writes lines again as it compacts.
                    self.rows.setdefault(each, last)
                self.has_compaction |= line.entry.get("subtype") == "compact_boundary"
            elif b'"last-prompt"' in line.content and "leafUuid" in line.entry:
                is_same = rewind.get("leafUuid") == line.entry["leafUuid"]
                rewind = line.entry if line.entry.get("explicit") or is_same else {}
                checkpoint = line.entry
        self.ordered = _in_order(self.rows)
        """In the order of the file, but each behind the one that it follows."""
        self.leaf = self._leaf(last, checkpoint)
        """The id of the row that claude would resume from; None where there is none."""
        if rewind and self._is_in(file, start, rewind["leafUuid"]):
            self.leaf = rewind["leafUuid"]
        self._current = self.follows(self.leaf)

    def follows(self, uuid: str | None) -> set[str]:
        """The ids of a row and of all rows before it in the chain."""
        seen: set[str] = set()
        while uuid is not None and uuid not in seen and uuid in self.rows:
            row = self.rows[uuid]
            seen.update(row.ids)
            uuid = row.parent
        return seen

    def notified(self) -> set[str]:
        """The ids of the turns that this conversation was notified of, on its current chain."""
        current = (self.rows[each].entry for each in self._current)
        return {each for entry in current for each in notice.ids(entry)}

    def turns(self) -> list[Turn]:
        """The finished turns of the current chain that begin in this part of the file."""
        return [
            Turn(self.path, part.copied(), self.rows)
            for part in self._parts()
            if part.end in self._current and part.is_finished and not part.is_of_stopped_task()
        ]

    def passages(self) -> list[list[Row]]:
        """The rows of the current chain from each prompt to the next, whether finished or not.

        Results of tools that ran at the same time are among them, though none follows another.
        """
        return [part.rows for part in self._parts() if part.ids() & self._current]

    def unsettled(self) -> list[Row]:
        """The rows that may yet be part of a finished turn."""
        parts = self._parts()
        done = [self.rows[part.end].line.start for part in parts if part.is_finished and part.end]
        parted = {each for part in parts for each in part.ids()}
        # Answers that 2.1.197 wrote before what they answer.
        strays = [
            row
            for row in self.ordered
            if row.uuid not in parted
            and row.kind in (lines.ANSWER, lines.RESULT)
            and row.line.start > max(done, default=-1)
        ]
        # Only the last one: what a kill left unfinished before it stays so.
        last = (part for part in parts if self.leaf in part.ids() and not part.is_finished)
        return [*(row for part in last for row in part.rows), *strays]

    def settled_end(self) -> int:
        """The place behind which all rows are that may yet be part of a finished turn."""
        return min((row.line.start for row in self.unsettled()), default=self.end)

    def _leaf(self, last: Row | None, checkpoint: Entry) -> str | None:
        """The last row, where it follows the newest checkpoint, else what the checkpoint names."""
        if last is None:
            return None
        end, named = _deepest(last, self.ordered), checkpoint.get("leafUuid")
        is_followed = named not in self.rows or named in self.follows(end.uuid)
        return end.uuid if is_followed else str(named)

    def _is_in(self, file: BinaryIO, start: int, named: str | None) -> bool:
        """Whether a rewind leads somewhere: to the very beginning, or to a row of the file."""
        if named is None or named in self.rows:
            return True
        sought = f'"{named}"'.encode()
        return any(sought in line.content for line in lines.backward(file, 0, start))

    def _parts(self) -> list[_Part]:
        part_of: dict[str, _Part | None] = {}
        parts: list[_Part] = []
        for row in self.ordered:
            part = part_of.get(row.parent) if row.parent else None
            is_between = part is None or part.is_finished
            if row.kind in lines.BEGINNINGS or (is_between and _may_begin(row)):
                part = _Part()
                parts.append(part)
            if part is not None:
                part.add(row)
            part_of.update(dict.fromkeys(row.ids, part))
        return parts


def leaf_of(file: BinaryIO, path: str) -> str | None:
    """The id of the row that claude would resume a transcript from. Raises OSError.

    No more of its end is read than that takes.
    """
    size = os.fstat(file.fileno()).st_size
    length = _TAIL
    while True:
        start = max(0, size - length)
        leaf = Chain(file, path, start).leaf
        if leaf is not None or start == 0:
            return leaf
        length *= 4


def end_of(file: BinaryIO, path: str) -> Chain:
    """The end of a transcript with a finished turn or a compaction; without either, all of it.

    No more of the file is read than that takes. Raises OSError.
    """
    size = os.fstat(file.fileno()).st_size
    length = _TAIL
    while True:
        start = _line_start(file, max(0, size - length))
        end = Chain(file, path, start)
        if start == 0 or end.has_compaction or end.turns():
            return end
        length *= 4


class _Part:
    """The rows from one beginning to the next."""

    __slots__ = ("end", "is_finished", "rows")

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.is_finished = False
        self.end: str | None = None

    def add(self, row: Row) -> None:
        """Add the next row."""
        self.rows.append(row)
        if row.kind in _ENDS or (row.kind == lines.ANSWER and lines.is_ending(row.entry)):
            self.is_finished, self.end = True, row.uuid
        elif row.kind in (lines.ANSWER, lines.RESULT, lines.FAILURE):
            self.is_finished = False

    def ids(self) -> set[str]:
        """The ids of its rows."""
        return {each for row in self.rows for each in row.ids}

    def is_of_stopped_task(self) -> bool:
        """Whether claude itself began it: it writes so into a copy of a conversation whose task
        runs on (help facts, "Catching up").
        """
        first = self.rows[0]
        return first.kind == lines.NOTIFICATION and _STOPPED_TASK in lines.text(first.entry)

    def copied(self) -> list[Row]:
        """The rows of the turn that another conversation gets, up to the one that ends it."""
        until = max(at for at, row in enumerate(self.rows) if row.uuid == self.end)
        return [row for row in self.rows[: until + 1] if _is_copied(row)]


def _may_begin(row: Row) -> bool:
    """Whether a turn begins with a row that is no prompt: claude's own, or a `!command`."""
    said = lines.text(row.entry)
    if row.kind == lines.META:
        return said.strip() != _CONTINUE and not said.startswith(_CAVEAT)
    return row.kind == lines.LOCAL and said.startswith(_SHELL)


def _is_copied(row: Row) -> bool:
    if row.kind in (lines.META, lines.LOCAL):
        return _may_begin(row)
    if row.kind == lines.ANSWER:
        return not lines.is_thinking(row.entry)
    if row.kind == lines.OTHER:
        attached = row.entry.get("attachment")
        is_state = isinstance(attached, dict) and attached.get("type") in _STATES
        return isinstance(attached, dict) and not is_state and not notice.is_notice(row.entry)
    return row.kind not in (lines.SYNTHETIC, lines.FAILURE)


def _line_start(file: BinaryIO, at: int) -> int:
    """The start of the first line that begins at a place or behind it."""
    if at == 0:
        return 0
    file.seek(at - 1)
    file.readline()
    return file.tell()


def _in_order(rows: dict[str, Row]) -> list[Row]:
    """Rows in the order of the file, but each behind the one that it follows."""
    ordered: list[Row] = []
    to_come = set(rows)
    waiting: dict[str, list[Row]] = {}
    for row in dict.fromkeys(rows.values()):
        ready = [row]
        while ready:
            each = ready.pop()
            if each.parent in to_come and each.parent not in each.ids:
                waiting.setdefault(str(each.parent), []).append(each)
                continue
            ordered.append(each)
            to_come.difference_update(each.ids)
            for own in each.ids:
                ready += reversed(waiting.pop(own, []))
    return ordered


def _deepest(row: Row, ordered: list[Row]) -> Row:
    """The last row that follows this one: 2.1.197 may have written it earlier."""
    below = set(row.ids)
    for each in ordered:
        if each.parent in below:
            below.update(each.ids)
            row = each
    return row
