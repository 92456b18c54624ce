"""What an entry of a transcript says, and who said it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, NamedTuple

from shim.base import stamps
from shim.claude import lines, notice

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, Final

    from shim.claude.lines import Entry

USER: Final = "user"
"""A person or a program: a prompt."""
CLAUDE: Final = "claude"
"""The model: an answer."""
TITLE: Final = "title"
"""A title that a person or claude gave the conversation."""
TOOL: Final = "tool"
"""A call of a tool."""
RESULT: Final = "result"
"""What a tool returned."""

NOTE: Final = "note"
"""What happened to the conversation: an error, an interruption, a compaction, …"""

_TITLES = {"custom-title": "customTitle", "ai-title": "aiTitle", "summary": "summary"}
# A prompt that claude took up in the middle of a turn (2.1.330).
_QUEUED = "queued_command"
_TOOL_USES = ("tool_use", "server_tool_use", "mcp_tool_use")
_NOTIFIES = "<task-notification>"
_BOUNDARY = "compact_boundary"
_COMPACTED = "compacted: from here on, claude knows what was said before as a summary"
_TASK = "a task in the background"
_IMAGE = "[image]"
_SUMMARY_OF_TASK = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
_SHELL_INPUT = re.compile(r"\s*<bash-input>(.*?)</bash-input>", re.DOTALL)
# The part of a call's input that says most of it.
_MAIN = (
    *("command", "file_path", "notebook_path", "path", "pattern", "query", "url", "skill"),
    *("description", "subject", "prompt"),
)


class Said(NamedTuple):
    """Something that was said: by whom, and in which words."""

    who: str
    text: str


def by(entry: Entry) -> list[Said]:
    """What a person, a program or claude said in an entry, titles included; mostly one thing."""
    title = entry.get(_TITLES.get(str(entry.get("type")), ""))
    if isinstance(title, str):
        return [Said(TITLE, title)] if title else []
    what = lines.kind(entry)
    if what == lines.PROMPT:
        return _if_any(USER, lines.prompt(entry) if lines.texts(entry) else "")
    if what == lines.ANSWER:
        return _if_any(CLAUDE, lines.text(entry))
    return _if_any(USER, queued(entry))


def by_tools(entry: Entry) -> list[Said]:
    """The calls of tools in an entry, and the results; each with the strings that it has."""
    what = lines.kind(entry)
    if what == lines.ANSWER:
        calls = (each for each in lines.blocks(entry) if each.get("type") in _TOOL_USES)
        return [
            Said(TOOL, "\n".join(_strings([call.get("name"), call.get("input")]))) for call in calls
        ]
    if what == lines.RESULT:
        return [Said(RESULT, text) for block in lines.blocks(entry) if (text := result(block))]
    return []


def in_full(entry: Entry, with_tools: bool) -> list[Said]:
    """What a reader of the conversation is shown of an entry, in order.

    A call of a tool is one line, and its result is left out; `with_tools` has both whole.
    """
    what = lines.kind(entry)
    pictures = _IMAGE * images(entry)
    if what == lines.PROMPT:
        text = lines.prompt(entry) or ""
        return [Said(USER, text if text == _IMAGE else f"{text}\n{pictures}".strip())]
    if what == lines.ANSWER:
        return [each for block in lines.blocks(entry) if (each := _part(block, with_tools))]
    if what == lines.RESULT:
        texts = [text for block in lines.blocks(entry) if (text := result(block))]
        return _if_any(RESULT, "\n".join(filter(None, [*texts, pictures]))) if with_tools else []
    if what == lines.LOCAL:
        ran = _SHELL_INPUT.match(lines.text(entry))
        return [Said(NOTE, f"! {ran[1]}")] if ran else []
    return _if_any(USER, queued(entry)) or _if_any(NOTE, _note(entry, what))


def _part(block: dict[str, Any], with_tools: bool) -> Said | None:
    """What a reader is shown of a block of an answer."""
    if block.get("type") in _TOOL_USES:
        name, given = str(block.get("name")), block.get("input")
        given = given if isinstance(given, dict) else {}
        if with_tools:
            return Said(TOOL, "\n".join([name, *(f"{key}: {_shown(given[key])}" for key in given)]))
        main = next((given[key] for key in _MAIN if isinstance(given.get(key), str)), None)
        said = main if main is not None else _shown(given) if given else ""
        return Said(TOOL, f"{name}  {' '.join(said.split())}".rstrip())
    text = block.get("text") if block.get("type") == "text" else None
    return Said(CLAUDE, text) if isinstance(text, str) and text.strip() else None


def _note(entry: Entry, what: str) -> str:
    if what == lines.FAILURE:
        return lines.text(entry)
    if what == lines.INTERRUPTION:
        return "interrupted"
    if what == lines.STOPPED:
        return "stopped by a limit or a hook"
    if what == lines.NOTIFICATION:
        task = _SUMMARY_OF_TASK.search(lines.text(entry))
        return _TASK + (f": {task[1].strip()}" if task else "")
    if entry.get("subtype") == _BOUNDARY:
        return _COMPACTED
    count = len(notice.ids(entry))
    if not count:
        return ""
    return f"notified of {count} turn{'s' * (count > 1)} that others had in this room"


def _shown(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def result(block: dict[str, Any]) -> str:
    """The text of a content block that is the result of a tool; empty where it has none."""
    if block.get("type") != "tool_result":
        return ""
    content = block.get("content")
    parts = content if isinstance(content, list) else [content]
    texts = (part.get("text") if isinstance(part, dict) else part for part in parts)
    return "\n".join(text for text in texts if isinstance(text, str))


def images(entry: Entry) -> int:
    """How many images a message has, those in the results of tools included."""
    parts = list(lines.blocks(entry))
    for block in lines.blocks(entry):
        content = block.get("content")
        inner = content if isinstance(content, list) else []
        parts += [each for each in inner if isinstance(each, dict)]
    return sum(part.get("type") == "image" for part in parts)


def queued(entry: Entry) -> str:
    """The prompt that claude took up in the middle of a turn; empty of any other entry."""
    attached = entry.get("attachment")
    if not isinstance(attached, dict) or attached.get("type") != _QUEUED:
        return ""
    text = lines.text({"message": {"content": attached.get("prompt")}}).strip()
    return "" if text.startswith(_NOTIFIES) else text


def when(entry: Entry) -> float | None:
    """When an entry was written, in seconds of the system's clock; None where it does not say."""
    stamp = stamps.nanoseconds(entry.get("timestamp"))
    return None if stamp is None else stamp / 1_000_000_000


def _if_any(who: str, text: str | None) -> list[Said]:
    return [Said(who, text)] if text and text.strip() else []


def _strings(value: object) -> Iterator[str]:
    """The strings in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
