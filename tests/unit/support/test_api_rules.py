"""What the stand-in Messages API refuses: one row a rule of the real one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.api_rules import refusal

Json = dict[str, Any]

USER = {"role": "user", "content": "hello"}
ANSWER = {"role": "assistant", "content": [{"type": "text", "text": "heard"}]}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}}
CACHED = {"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}}


def says(role: str, *blocks: Json) -> Json:
    return {"role": role, "content": list(blocks)}


def text(content: str) -> Json:
    return {"type": "text", "text": content}


def tool_use(name: str) -> Json:
    return {"type": "tool_use", "id": name, "name": "Bash", "input": {}}


def tool_result(name: str, content: object = "done") -> Json:
    return {"type": "tool_result", "tool_use_id": name, "content": content}


def body(*messages: Json, **fields: Any) -> Json:
    return {"model": "m", "max_tokens": 100, "messages": list(messages), **fields}


@pytest.mark.parametrize(
    "taken",
    [
        body(USER),
        body(USER, ANSWER, USER, stream=True, system=[text("You are Claude.")]),
        body(USER, {"role": "system", "content": "# Environment"}),
        body(USER, {"role": "system", "content": [], "output_config": {"effort": "medium"}}),
        # messages of one role in a row are one message
        body(USER, USER, ANSWER, ANSWER, USER),
        body(
            USER,
            says("assistant", tool_use("a")),
            says("assistant", tool_use("b")),
            says("user", tool_result("b", [text("done"), IMAGE])),
            says("user", tool_result("a", ""), text("and now?")),
        ),
        body(USER, says("assistant", {"type": "thinking", "thinking": "", "signature": "s"}), USER),
        body(says("user", IMAGE, CACHED, CACHED, CACHED, CACHED)),
    ],
)
def test_what_the_api_takes(taken: Json) -> None:
    assert refusal(taken) is None


@pytest.mark.parametrize(
    ("refused", "why"),
    [
        ({"model": "m", "max_tokens": 1}, "messages: Field required"),
        (body(USER, uuid="1"), "uuid: Extra inputs are not permitted"),
        (body(USER, tools=[{"name": "A"}, {"name": "A"}]), "tools: Tool names must be unique: A"),
        (body(USER, system=[text(" ")]), "system.0: text content blocks must contain"),
        (body(), "messages: at least one message is required"),
        (body({**USER, "uuid": "1"}), "messages.0.uuid: Extra inputs are not permitted"),
        (body({**USER, "role": "tool"}), "messages.0.role: Input should be"),
        (body({**USER, "content": ""}), "messages.0: all messages must have non-empty content"),
        (body(USER, says("assistant"), USER), "messages.1: all messages must have non-empty"),
        (body({**USER, "content": "\n"}), "messages.0: text content blocks must contain"),
        (body(says("user", text(" \n"))), "messages.0.content.0: text content blocks must contain"),
        (body(says("user", tool_use("a"))), "messages.0.content.0: Input tag 'tool_use'"),
        (body(says("user", {"type": "text"})), "messages.0.content.0.text.text: Field required"),
        (
            body(says("user", {**text("x"), "uuid": "1"})),
            "messages.0.content.0.text.uuid: Extra inputs are not permitted",
        ),
        (
            body(USER, says("assistant", tool_use("a b")), says("user", tool_result("a b"))),
            "messages.1.content.0.tool_use.id: String should match pattern",
        ),
        (
            body(USER, says("assistant", {**tool_use("a"), "input": "ls"})),
            "messages.1.content.0.tool_use.input: Input should be a valid dictionary",
        ),
        (
            body(
                USER, says("assistant", tool_use("a")), says("user", tool_result("a", [text("")]))
            ),
            "messages.2.content.0.content.0: text content blocks must contain",
        ),
        (body(ANSWER, USER), "messages: first message must use the user role"),
        (body(USER, ANSWER), "messages: the conversation must end with a user message"),
        (
            body(USER, says("assistant", tool_use("a")), USER),
            "messages (merged).2: `tool_use` ids without `tool_result` blocks in it: ['a']",
        ),
        (
            body(USER, ANSWER, says("user", tool_result("a"))),
            "messages (merged).2: `tool_result` ids without `tool_use` blocks before: ['a']",
        ),
        (
            body(
                USER,
                says("assistant", tool_use("a")),
                says("user", tool_result("a"), tool_result("a")),
            ),
            "messages (merged).2: each `tool_use` must have a single result",
        ),
        (
            body(USER, says("assistant", tool_use("a")), says("user", text("x"), tool_result("a"))),
            "messages (merged).2: `tool_result` blocks must come first",
        ),
        (
            body(
                USER,
                *[says("assistant", tool_use("a")), says("user", tool_result("a"))],
                *[says("assistant", tool_use("a")), says("user", tool_result("a"))],
            ),
            "messages (merged).3: `tool_use` ids must be unique",
        ),
        (body(says("user", *[CACHED] * 5)), "A maximum of 4 blocks with cache_control"),
    ],
)
def test_what_the_api_refuses(refused: Json, why: str) -> None:
    assert (refusal(refused) or "taken").startswith(why)
