"""What a transcript says, from its head and its tail, however large it is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from shim.base import stamps
from shim.claude import lines, refusals, transcripts

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import BinaryIO

# Bytes. Up to the first a transcript is read whole; of a larger one its head, and its tail.
_WHOLE = 1 << 19
_HEAD = 1 << 17
_TAIL = 1 << 18

# The last of each counts: claude (2.1.330) writes them again as the conversation grows.
_TITLES = {"custom-title": "customTitle", "ai-title": "aiTitle"}
_TYPES = ("user", "last-prompt", *_TITLES)
_MARKS = [f'"{name}"'.encode() for name in _TYPES]


@dataclass(frozen=True)
class Summary:
    """What a transcript says of its conversation; None for what was not seen."""

    size: int
    """Bytes, with those of what lies beside it."""
    written: float
    """When it was last written, in seconds of the system's clock."""
    turns: int
    """How many prompts a person or a program gave."""
    is_exact: bool
    """Whether `turns` was counted, and not estimated."""
    first_prompt: str | None
    last_prompt: str | None
    directory: str | None
    """The working directory that the conversation belongs to."""
    started: float | None
    """When it started, in seconds of the system's clock."""
    title: str | None = None
    """The title that the user gave it, else the one that claude did."""
    api_error: str | None = None
    """The API error in which each of the last turns ended."""

    @property
    def about(self) -> str | None:
        """What the conversation is about: its title, else its first words."""
        return self.title or self.first_prompt


def read(path: str) -> Summary:
    """What a transcript says, at the cost of some 100s of KiB read. Raises OSError."""
    with lines.open_regular(path) as file:
        status = os.fstat(file.fileno())
        is_exact = status.st_size <= _WHOLE
        first = _entries(file, 0, status.st_size if is_exact else _HEAD)
        last = [] if is_exact else _entries(file, status.st_size - _TAIL, status.st_size)
    prompts = [said for entry in first + last if (said := lines.prompt(entry))]
    counted = len(prompts)
    if not is_exact:
        per_byte = counted / (_HEAD + _TAIL)
        counted = max(counted, _claudes_count(last) or int(per_byte * status.st_size))
    return Summary(
        size=status.st_size + _size_beside(path),
        written=status.st_mtime,
        turns=counted,
        is_exact=is_exact,
        first_prompt=next(filter(None, map(lines.prompt, first)), None),
        last_prompt=_last_prompt(first if is_exact else last),
        directory=_directory(first + last, os.path.basename(os.path.dirname(path))),
        started=next((at for entry in first if (at := _time(entry))), None),
        title=_title(first + last),
        api_error=refusals.error(path),
    )


def _size_beside(path: str) -> int:
    """The bytes of tool results, subagents and whatever else lies beside a transcript."""
    directory = transcripts.sidecars_of(path)
    if not os.path.isdir(directory):
        return 0
    files = (f"{where}/{name}" for where, _, names in os.walk(directory) for name in names)
    return sum(os.stat(file).st_size for file in files if os.path.isfile(file))


def best(paths: Iterable[str]) -> tuple[str, Summary] | None:
    """The first of these transcripts in which something was said, else the first; None of none."""
    first = None
    for path in paths:
        try:
            summary = read(path)
        except OSError:
            continue  # it has just been deleted, or may not be read
        if summary.turns:
            return path, summary
        first = first or (path, summary)
    return first


def _entries(file: BinaryIO, start: int, stop: int) -> list[dict[str, Any]]:
    """What is the user's, and claude's notes of it. A line that is cut is no JSON: passed over."""
    return [
        line.entry
        for line in lines.forward(file, start, stop)
        if any(mark in line.content for mark in _MARKS) and line.entry.get("type") in _TYPES
    ]


def _last_prompt(entries: list[dict[str, Any]]) -> str | None:
    """The last prompt; where its line is too long to be seen, what claude notes of it.

    Only there: in a fork claude (2.1.331) notes the first prompt.
    """
    said = map(lines.prompt, reversed(entries))
    noted = (entry.get("lastPrompt") for entry in reversed(entries))
    return next((text for text in chain(said, noted) if text and isinstance(text, str)), None)


def _title(entries: list[dict[str, Any]]) -> str | None:
    for kind, field in _TITLES.items():
        for entry in reversed(entries):
            title = entry.get(field) if entry.get("type") == kind else None
            if title and isinstance(title, str):
                return title
    return None


def _claudes_count(entries: list[dict[str, Any]]) -> int | None:
    """The number that claude (2.1.330) itself gives the last of these turns."""
    for entry in reversed(entries):
        position = entry.get("turnPosition")
        count = position.get("turnIndex") if isinstance(position, dict) else None
        if isinstance(count, int):
            return count
    return None


def _directory(entries: list[dict[str, Any]], project: str) -> str | None:
    """The working directory that the project is named after, else the first one there is.

    Claude notes with each line where it was then, which a command may have changed.
    """
    noted = [cwd for entry in entries if isinstance(cwd := entry.get("cwd"), str)]
    # JSON can hold half a character, which no path does.
    directories = [cwd.encode("utf-8", "replace").decode() for cwd in noted]
    own = (cwd for cwd in dict.fromkeys(directories) if _is_named_after(project, cwd))
    return next(own, directories[0] if directories else None)


def _is_named_after(project: str, directory: str) -> bool:
    name = transcripts.project_name(directory)
    longest = transcripts.LONGEST_PROJECT_NAME
    return name == project or (len(name) > longest and project.startswith(name[:longest]))


def _time(entry: dict[str, Any]) -> float | None:
    stamp = stamps.nanoseconds(entry.get("timestamp"))
    return None if stamp is None else stamp / 1_000_000_000
