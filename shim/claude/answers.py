"""Whether a turn's answer is in the transcript yet: claude writes it when its hooks have begun."""

from __future__ import annotations

import os

from shim.claude import transcripts

# Bytes of a transcript's end in which it is looked for.
_TAIL = 4 << 20


def end_of(transcript: str, answer: str, after: int) -> int | None:
    """Where the line of an answer ends that comes behind a place; None where it is not there yet.

    It is claude's own word for it, `last_assistant_message` (help facts, "Hooks"): the text of the
    last message, of whose parts each is a line.
    """
    wanted = answer.strip()
    try:
        with open(transcript, "rb") as file:
            start = max(after, os.fstat(file.fileno()).st_size - _TAIL)
            file.seek(start)
            lines = file.read().split(b"\n")
    except OSError:
        return None
    end = start
    found = None
    for line in lines[:-1]:
        end += len(line) + 1
        if b'"assistant"' in line and _answers(line, wanted):
            found = end
        elif found is not None and _is_prompt(line):
            found = None  # of an earlier turn, in the same words
    return found


def _answers(line: bytes, wanted: str) -> bool:
    entry = transcripts.message(line)
    if entry is None or entry["type"] != "assistant":
        return False
    said = [_text(block) for block in _blocks(entry)]
    last = next((text for text in reversed(said) if text), "")
    return bool(last) and wanted.endswith(last)


def _is_prompt(line: bytes) -> bool:
    """Whether a line is what a user said, and no tool's result."""
    if b'"user"' not in line:
        return False
    entry = transcripts.message(line)
    return (
        entry is not None
        and entry["type"] == "user"
        and not any(block.get("type") == "tool_result" for block in _blocks(entry))
    )


def _blocks(entry: dict[str, object]) -> list[dict[str, object]]:
    message = entry["message"]
    content = message.get("content") if isinstance(message, dict) else None
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [it for it in content if isinstance(it, dict)] if isinstance(content, list) else []


def _text(block: dict[str, object]) -> str:
    text = block.get("text") if block.get("type") == "text" else ""
    return text.strip() if isinstance(text, str) else ""
