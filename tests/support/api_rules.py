"""What the real Messages API refuses in a request, for the one that stands in for it.

The rules are those that a conversation put together by hand can break. Their wording is near the
API's own.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = dict[str, Any]

# The parameters of the API, and what Claude Code 2.1.197 to 2.1.332 sends besides.
_PARAMETERS = {
    "cache_control",
    "container",
    "context_management",
    "fallbacks",
    "inference_geo",
    "max_tokens",
    "mcp_servers",
    "messages",
    "metadata",
    "model",
    "output_config",
    "output_format",
    "safeguards",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
}
_MESSAGE_FIELDS = {
    "user": {"role", "content"},
    "assistant": {"role", "content"},
    "system": {"role", "content", "output_config"},
}
# What each kind of block must have, and what it may have.
_BLOCK_FIELDS = {
    "text": ({"text"}, {"citations"}),
    "image": ({"source"}, set[str]()),
    "document": ({"source"}, {"title", "context", "citations"}),
    "search_result": ({"source", "title", "content"}, {"citations"}),
    "tool_reference": ({"tool_name"}, set[str]()),
    "thinking": ({"thinking", "signature"}, set[str]()),
    "redacted_thinking": ({"data"}, set[str]()),
    "tool_use": ({"id", "name", "input"}, {"caller"}),
    "tool_result": ({"tool_use_id"}, {"content", "is_error"}),
}
_BLOCKS_OF = {
    "user": {"text", "image", "document", "search_result", "tool_result"},
    "assistant": {"text", "thinking", "redacted_thinking", "tool_use"},
    "tool_result": {"text", "image", "document", "search_result", "tool_reference"},
}
_TOOL_ID = re.compile(r"[a-zA-Z0-9_-]+")
_MOST_CACHED = 4


def refusal(body: Json) -> str | None:
    """Why the API refuses this body of `POST /v1/messages`; None where it takes it."""
    return next(_problems(body), None)


def _problems(body: Json) -> Iterator[str]:
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            yield f"{name}: Field required"
    for name in body.keys() - _PARAMETERS:
        yield f"{name}: Extra inputs are not permitted"
    for name, count in Counter(tool.get("name") for tool in body.get("tools", [])).items():
        if count > 1:
            yield f"tools: Tool names must be unique: {name}"
    system = body.get("system", [])
    yield from _blocks_problems(system if isinstance(system, list) else [], {"text"}, "system")
    messages = body["messages"]
    for index, message in enumerate(messages):
        yield from _message_problems(message, f"messages.{index}")
    yield from _turns_problems(messages)
    if _cached(body) > _MOST_CACHED:
        yield f"A maximum of {_MOST_CACHED} blocks with cache_control may be provided"


def _message_problems(message: Json, where: str) -> Iterator[str]:
    role = message.get("role")
    if role not in _MESSAGE_FIELDS:
        yield f"{where}.role: Input should be 'user' or 'assistant', not {role!r}"
        return
    for name in message.keys() - _MESSAGE_FIELDS[role]:
        yield f"{where}.{name}: Extra inputs are not permitted"
    content = message.get("content")
    if not content and "output_config" in message:  # claude changes its effort with it
        return
    if not content:
        yield f"{where}: all messages must have non-empty content"
    elif isinstance(content, str):
        yield from _text_problems(content, where)
    elif role != "system":  # it changes tools, too, with blocks of its own
        yield from _blocks_problems(content, _BLOCKS_OF[role], f"{where}.content")


def _blocks_problems(blocks: list[Json], allowed: set[str], where: str) -> Iterator[str]:
    for index, block in enumerate(blocks):
        kind, at = block.get("type"), f"{where}.{index}"
        if kind not in allowed:
            yield f"{at}: Input tag {kind!r} does not match any of {sorted(allowed)}"
            continue
        needed, possible = _BLOCK_FIELDS[kind]
        for name in needed - block.keys():
            yield f"{at}.{kind}.{name}: Field required"
        for name in block.keys() - needed - possible - {"type", "cache_control"}:
            yield f"{at}.{kind}.{name}: Extra inputs are not permitted"
        if kind == "text":
            yield from _text_problems(block["text"], at)
        elif kind == "tool_use" and not _TOOL_ID.fullmatch(block["id"]):
            yield f"{at}.tool_use.id: String should match pattern {_TOOL_ID.pattern}"
        elif kind == "tool_use" and not isinstance(block["input"], dict):
            yield f"{at}.tool_use.input: Input should be a valid dictionary"
        elif kind == "tool_result" and isinstance(block.get("content"), list):
            yield from _blocks_problems(block["content"], _BLOCKS_OF[kind], f"{at}.content")


def _text_problems(text: str, where: str) -> Iterator[str]:
    if not text.strip():
        yield f"{where}: text content blocks must contain non-whitespace text"


def _turns_problems(messages: list[Json]) -> Iterator[str]:
    """What is wrong with the order of the messages, those of one role in a row being one."""
    merged: list[tuple[str, list[Json]]] = []
    for message in messages:
        if message["role"] == "system":
            continue
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if merged and merged[-1][0] == message["role"]:
            merged[-1][1].extend(blocks)
        else:
            merged.append((message["role"], list(blocks)))
    if not merged:
        yield "messages: at least one message is required"
        return
    if merged[0][0] != "user":
        yield "messages: first message must use the user role"
    if merged[-1][0] != "user":
        yield "messages: the conversation must end with a user message"
    asked: list[str] = []
    ever_asked: set[str] = set()
    for index, (role, blocks) in enumerate(merged):
        answered = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        at = f"messages (merged).{index}"
        if missing := set(asked) - set(answered):
            yield f"{at}: `tool_use` ids without `tool_result` blocks in it: {sorted(missing)}"
        if surplus := set(answered) - set(asked):
            yield f"{at}: `tool_result` ids without `tool_use` blocks before: {sorted(surplus)}"
        if len(answered) > len(set(answered)):
            yield f"{at}: each `tool_use` must have a single result: {answered}"
        if any(block["type"] == "tool_result" for block in blocks[len(answered) :]):
            yield f"{at}: `tool_result` blocks must come first"
        asked = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if len(asked) > len(set(asked)) or ever_asked & set(asked):
            yield f"{at}: `tool_use` ids must be unique: {asked}"
        ever_asked |= set(asked)
        assert role == "assistant" or not asked  # by what blocks each role may have


def _cached(value: object) -> int:
    """How many blocks of the body have `cache_control`, those inside of others included."""
    if isinstance(value, list):
        return sum(map(_cached, value))
    if isinstance(value, dict):
        return ("cache_control" in value) + sum(map(_cached, value.values()))
    return 0
