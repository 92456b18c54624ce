"""What a transcript says, from its head and its tail, however large it is."""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

from shim.base import stamps
from shim.base.json_object import json_object
from shim.claude import transcripts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Bytes. Up to the first a transcript is read whole; of a larger one its head, and its tail.
_WHOLE = 1 << 19
_HEAD = 1 << 17
_TAIL = 1 << 18

# What claude itself writes as the user's: reminders, records of commands, news of tasks.
_TAG = re.compile(
    r"<(/?)(system-reminder|task-notification|(?:local-command|command|bash)-[a-z]+)>"
)
_INTERRUPTED = "[Request interrupted by user"
_NOT_SAID = ("isMeta", "isSidechain", "isCompactSummary", "isVisibleInTranscriptOnly")
_IMAGE = "[image]"
# The last of each counts: claude (2.1.330) writes them again as the conversation grows.
_TITLES = {"custom-title": "customTitle", "ai-title": "aiTitle"}
_TYPES = ("user", "last-prompt", *_TITLES)
_MARK = re.compile('"(?:{})"'.format("|".join(_TYPES)))


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

    @property
    def about(self) -> str | None:
        """What the conversation is about: its title, else its first words."""
        return self.title or self.first_prompt


def of(path: str) -> Summary:
    """What a transcript says, at the cost of some 100s of KiB read. Raises OSError."""
    # Not to wait for a writer, should it be a FIFO.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        is_exact = status.st_size <= _WHOLE
        head, tail = file.read(_WHOLE if is_exact else _HEAD), b""
        if not is_exact:
            file.seek(-_TAIL, os.SEEK_END)
            tail = file.read()
    first, last = list(_entries(head)), list(_entries(tail))
    prompts = [text for entry in first + last if (text := _prompt(entry))]
    counted = len(prompts)
    if not is_exact:
        per_byte = counted / (len(head) + len(tail))
        counted = max(counted, _claudes_count(last) or int(per_byte * status.st_size))
    return Summary(
        size=status.st_size + _size_beside(path),
        written=status.st_mtime,
        turns=counted,
        is_exact=is_exact,
        first_prompt=next(filter(None, map(_prompt, first)), None),
        last_prompt=_last_prompt(last if tail else first),
        directory=_directory(first + last, os.path.basename(os.path.dirname(path))),
        started=next((at for entry in first if (at := _time(entry))), None),
        title=_title(first + last),
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
            summary = of(path)
        except OSError:
            continue  # it has just been deleted, or may not be read
        if summary.turns:
            return path, summary
        first = first or (path, summary)
    return first


def _entries(content: bytes) -> Iterator[dict[str, Any]]:
    """What is the user's, and claude's notes of it. A line that is cut is no JSON: passed over."""
    for line in content.decode("utf-8", "replace").split("\n"):
        if _MARK.search(line) and (entry := json_object(line)).get("type") in _TYPES:
            yield entry


def _prompt(entry: dict[str, Any]) -> str | None:
    """What a person or a program said, or None where claude itself or a tool did."""
    message = entry.get("message")
    if not isinstance(message, dict) or any(entry.get(mark) for mark in _NOT_SAID):
        return None
    content = message.get("content")
    blocks = content if isinstance(content, list) else [{"type": "text", "text": content}]
    texts = [block.get("text") for block in _of_type("text", blocks)]
    said = _unwrapped("\n".join(text for text in texts if isinstance(text, str))).strip()
    if any(_of_type("tool_result", blocks)) or said.startswith(_INTERRUPTED):
        return None
    return said or (_IMAGE if any(_of_type("image", blocks)) else None)


def _unwrapped(text: str) -> str:
    """The text without what stands between one of claude's tags and the next that closes it.

    In two passes over the tags: an expression with `.*?` looks for the end of each tag in all of
    what follows, and a prompt of some 100 kB that has many took minutes.
    """
    tags = list(_TAG.finditer(text))
    ends: dict[str, int] = {}
    wrapped: list[tuple[int, int]] = []
    for tag in reversed(tags):
        is_closing, name = tag.groups()
        if is_closing:
            ends[name] = tag.end()
        elif name in ends:
            wrapped.append((tag.start(), ends[name]))
    pieces, at = [], 0
    for start, end in reversed(wrapped):
        if start >= at:
            pieces.append(text[at:start])
            at = end
    return "".join([*pieces, text[at:]])


def _of_type(kind: str, blocks: list[Any]) -> Iterator[dict[str, Any]]:
    return (block for block in blocks if isinstance(block, dict) and block.get("type") == kind)


def _last_prompt(entries: list[dict[str, Any]]) -> str | None:
    """The last prompt; where its line is too long to be seen, what claude notes of it.

    Only there: in a fork claude (2.1.331) notes the first prompt.
    """
    said = map(_prompt, reversed(entries))
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
