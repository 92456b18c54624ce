"""The one reader of a transcript's lines: what each line is, and whether a turn is finished.

Claude writes one JSON object a line, one line a content block of a message. Lines of the
conversation have a `uuid` and the `parentUuid` of the line they follow. A kill or a power cut can
leave a torn last line or NUL bytes; what is no JSON object is skipped, as claude skips it.
"""

from __future__ import annotations

import errno
import os
import re
import stat

from shim.base.json_object import json_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, BinaryIO, Final

    Entry = dict[str, Any]

# What a line of the conversation is.
PROMPT: Final = "prompt"
"""What a person or a program asked."""
NOTIFICATION: Final = "notification"
"""Claude's own news of a background task, which begins a turn like a prompt."""
RESULT: Final = "result"
"""The result of a tool call."""
ANSWER: Final = "answer"
"""A part of the model's message."""
FAILURE: Final = "failure"
"""An API error, in the place of an answer."""
INTERRUPTION: Final = "interruption"
"""The note that a person or a program interrupted the turn."""
STOPPED: Final = "stopped"
"""The note that a limit or a hook ended the turn before the model did."""
LOCAL: Final = "local"
"""A command that ran in claude itself, such as `/clear` or `!ls`, or its output."""
META: Final = "meta"
"""What claude wrote in the user's name."""
SYNTHETIC: Final = "synthetic"
"""What claude wrote in the model's name."""
OTHER: Final = "other"

BEGINNINGS: Final = (PROMPT, NOTIFICATION)
"""What begins a turn."""

# What the last turn of a transcript is.
UNDER_WAY: Final = "under way"
FINISHED: Final = "finished"
FAILED: Final = "failed"
"""Ended by an API error."""

CONVERSATION: Final = ("user", "assistant", "attachment", "system")
"""The types of the lines that claude chains by `parentUuid`."""

FIRST_SAID_IN: Final = "claudeShimFrom"
"""The field of a line that we copied: the conversation in which it was said first."""

_ENDINGS = ("end_turn", "stop_sequence", "max_tokens", "refusal")
_THOUGHTS = ("thinking", "redacted_thinking")
_STOPS = ("max_turns_reached", "hook_stopped_continuation")
_INTERRUPTED = "[Request interrupted by user"
_NOTIFIES = "<task-notification>"
_SYNTHETIC_MODEL = "<synthetic>"
_NOBODYS = ("isCompactSummary", "isVisibleInTranscriptOnly")
_IMAGE = "[image]"
# What claude itself writes as the user's: reminders, records of commands, news of tasks.
_TAG = re.compile(
    r"<(/?)(system-reminder|task-notification|(?:local-command|command|bash)-[a-z]+)>"
)
_LOCAL = re.compile(r"\s*<(?:local-command|command|bash)-[a-z]+>")
# A command whose text is a prompt has its message first, one that runs in claude its name.
_COMMAND = re.compile(
    r"\s*<command-message>.*?</command-message>\s*<command-name>(?P<name>[^<]*)</command-name>"
    r"(?:\s*<command-args>(?P<args>.*?)</command-args>)?",
    re.DOTALL,
)
_MESSAGE, _PARENT = b'"message"', b'"parentUuid"'
_CHUNK = 1 << 16


class Line:
    """A line of a transcript, and the place in bytes where it starts."""

    __slots__ = ("_entry", "content", "start")

    def __init__(self, start: int, content: bytes) -> None:
        self.start = start
        self.content = content
        self._entry: Entry | None = None

    @property
    def end(self) -> int:
        """The place behind it, its line end included."""
        return self.start + len(self.content)

    @property
    def is_whole(self) -> bool:
        """Whether it has its line end: else it is being written, or was torn."""
        return self.content.endswith(b"\n")

    @property
    def entry(self) -> Entry:
        """Its JSON object; empty where it holds none. NUL bytes before it are ignored."""
        if self._entry is None:
            text = self.content.lstrip(b"\0 ")
            self._entry = json_object(text) if text.startswith(b"{") else {}
        return self._entry


def open_regular(path: str) -> BinaryIO:
    """Open a transcript for reading; never waits for a FIFO's writer.

    Raises OSError, also where it is no regular file.
    """
    file = open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: SIM115
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", path)
    return file


def forward(file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[Line]:
    """The lines between two places of a file, in order. Raises OSError.

    Where `start` is in the middle of a line, the rest of that line comes first; a line that
    reaches beyond `stop` is cut there.
    """
    stop = os.fstat(file.fileno()).st_size if stop is None else stop
    at = start
    file.seek(at)
    while at < stop and (content := file.readline(stop - at)):
        yield Line(at, content)
        at += len(content)


def backward(file: BinaryIO, start: int = 0, stop: int | None = None) -> Iterator[Line]:
    """The lines between two places of a file, the last one first. Raises OSError.

    The file is read in pieces from its end: no more of it than the lines that are taken.
    """
    at = os.fstat(file.fileno()).st_size if stop is None else stop
    rest, chunk = b"", _CHUNK
    while at > start:
        length = min(chunk, at - start)
        read = os.pread(file.fileno(), length, at - length)
        if len(read) < length:
            return  # it was cut meanwhile
        at -= length
        block = read + rest
        # The first line of the block may begin before it.
        known = block.find(b"\n") + 1 if at > start else 0
        if at > start and known in (0, len(block)):
            rest, chunk = block, chunk * 2  # twice as much: a long line is not copied for each
            continue
        rest, chunk = block[:known], _CHUNK
        yield from reversed(_lines(at + known, block[known:]))


def start_of_line(file: BinaryIO, at: int) -> int:
    """Where the line starts that the byte at a place is in. Raises OSError."""
    while at > 0:
        start = max(0, at - _CHUNK)
        found = os.pread(file.fileno(), at - start, start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        at = start
    return 0


def end_of_line(file: BinaryIO, at: int, size: int) -> int:
    """Where the line ends that the byte before a place is in, its line end included.

    The end of the file, `size`, where it has none. Raises OSError.
    """
    at = max(0, at - 1)
    while at < size:
        found = os.pread(file.fileno(), _CHUNK, at).find(b"\n")
        if found >= 0:
            return at + found + 1
        at += _CHUNK
    return size


def tail(file: BinaryIO, size: int) -> list[Line]:
    """The last lines of a file, in order: as many as it takes to have `size` bytes of them.

    Raises OSError.
    """
    found: list[Line] = []
    had = 0
    for line in backward(file):
        if had >= size:
            break
        found.append(line)
        had += len(line.content)
    return found[::-1]


def message(line: bytes) -> Entry | None:
    """The entry of a line, if it is a message of the conversation itself."""
    if _MESSAGE not in line and _PARENT not in line:
        return None  # ten million of them, or a gigabyte of NULs, would take a minute
    found = Line(0, line).entry
    return found if is_message(found) else None


def is_message(entry: Entry) -> bool:
    """Whether an entry is a message of the conversation itself, and not of a subagent."""
    return (
        entry.get("type") in ("user", "assistant")
        and isinstance(entry.get("message"), dict)
        and not entry.get("isSidechain")
    )


def is_of_conversation(entry: Entry) -> bool:
    """Whether an entry has a place in the conversation's chain of lines."""
    return (
        entry.get("type") in CONVERSATION
        and isinstance(entry.get("uuid"), str)
        and not entry.get("isSidechain")
    )


def blocks(entry: Entry) -> list[dict[str, Any]]:
    """The content blocks of a message."""
    said = entry.get("message")
    content = said.get("content") if isinstance(said, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []


def texts(entry: Entry) -> list[str]:
    """The text blocks of a message."""
    found = (block.get("text") for block in blocks(entry) if block.get("type", "text") == "text")
    return [each for each in found if isinstance(each, str)]


def text(entry: Entry) -> str:
    """The text of a message, its text blocks one below the other."""
    return "\n".join(texts(entry))


def kind(entry: Entry) -> str:
    """What an entry is, as one of the words above."""
    if not is_message(entry):
        attached = entry.get("attachment")
        is_stop = isinstance(attached, dict) and attached.get("type") in _STOPS
        return STOPPED if is_stop and is_of_conversation(entry) else OTHER
    if entry["type"] == "assistant":
        if entry.get("isApiErrorMessage"):
            return FAILURE
        is_synthetic = entry["message"].get("model") == _SYNTHETIC_MODEL
        return SYNTHETIC if is_synthetic else ANSWER
    return _kind_of_user(entry)


def _kind_of_user(entry: Entry) -> str:
    if any(entry.get(mark) for mark in _NOBODYS):
        return OTHER
    if any(block.get("type") == "tool_result" for block in blocks(entry)):
        return RESULT
    if entry.get("isMeta"):
        return META
    if any(each.startswith(_INTERRUPTED) for each in texts(entry)):
        return INTERRUPTION
    origin = entry.get("origin")
    is_notified = isinstance(origin, dict) and origin.get("kind") == "task-notification"
    if is_notified or text(entry).lstrip().startswith(_NOTIFIES):
        return NOTIFICATION
    if _asked(entry):
        return PROMPT
    return LOCAL if _LOCAL.match(text(entry)) else OTHER


def prompt(entry: Entry) -> str | None:
    """What a person or a program asked; None where claude itself or a tool wrote the entry.

    Of a command whose text is a prompt (`/review`), the command. Of an image alone, `[image]`.
    """
    return _asked(entry) if kind(entry) == PROMPT else None


def _asked(entry: Entry) -> str | None:
    said = text(entry)
    command = _COMMAND.match(said)
    if command:
        return " ".join(filter(None, (command["name"].strip(), (command["args"] or "").strip())))
    has_image = any(block.get("type") == "image" for block in blocks(entry))
    return _unwrapped(said).strip() or (_IMAGE if has_image else None)


def is_ending(entry: Entry) -> bool:
    """Whether an answer's line ends its turn.

    All lines of a message have its `stop_reason`; so the line of what the model thought says that
    the turn has ended before the line of its text is there (help facts, "Catching up").
    """
    if kind(entry) != ANSWER or entry["message"].get("stop_reason") not in _ENDINGS:
        return False
    return not is_thinking(entry)


def is_thinking(entry: Entry) -> bool:
    """Whether a message's line holds nothing but what the model thought."""
    parts = blocks(entry)
    return bool(parts) and all(map(is_thought, parts))


def is_thought(block: object) -> bool:
    """Whether a content block is what the model thought."""
    return isinstance(block, dict) and block.get("type") in _THOUGHTS


def state(entries: Iterable[Entry]) -> str | None:
    """What the last turn of these entries is, as one of the words above; None without one.

    Where nothing but a local command ran, no turn is under way: FINISHED.
    """
    has_run = False
    for entry in reversed(list(entries)):
        what = kind(entry)
        if what == ANSWER:
            return FINISHED if is_ending(entry) else UNDER_WAY
        if what in (INTERRUPTION, STOPPED):
            return FINISHED
        if what == FAILURE:
            return FAILED
        if what in BEGINNINGS or what == RESULT:
            return UNDER_WAY
        has_run = has_run or what == LOCAL
    return FINISHED if has_run else None


def in_order(entries: Iterable[Entry]) -> Iterator[Entry]:
    """Entries in the order of the file, but each behind the one that it follows.

    2.1.197, when busy, writes an answer in front of what it answers now and then.
    """
    entries = list(entries)
    to_come = {str(entry["uuid"]) for entry in entries if "uuid" in entry}
    waiting: dict[str, list[Entry]] = {}
    for entry in entries:
        ready = [entry]
        while ready:
            each = ready.pop()
            parent, own = str(each.get("parentUuid")), str(each.get("uuid"))
            if parent in to_come and parent != own:
                waiting.setdefault(parent, []).append(each)
                continue
            yield each
            to_come.discard(own)
            ready += reversed(waiting.pop(own, []))


def _unwrapped(said: str) -> str:
    """The text without what stands between one of claude's tags and the next that closes it.

    In two passes over the tags: an expression with `.*?` looks for the end of each tag in all of
    what follows, and a prompt of some 100 kB that has many took minutes.
    """
    tags = list(_TAG.finditer(said))
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
            pieces.append(said[at:start])
            at = end
    return "".join([*pieces, said[at:]])


def _lines(start: int, content: bytes) -> list[Line]:
    """The lines of a piece of a file that starts at a line's start."""
    found = []
    for piece in content.split(b"\n"):
        found.append(Line(start, piece + b"\n"))
        start += len(piece) + 1
    last = found.pop()
    if last.content != b"\n":
        found.append(Line(last.start, last.content[:-1]))
    return found
