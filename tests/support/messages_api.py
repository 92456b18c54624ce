"""A stand-in for the Anthropic Messages API, for tests that run the real Claude Code.

It answers on loopback, remembers every request, and by default repeats what it was told, so that
a test can read off claude's answer which conversation claude is in. `Reply` says what else a turn
can meet: a tool call, an error, a delay, a dropped connection.

It is as strict as the real one: what tests/support/api_rules.py refuses is answered with status
400, and fails the test.
"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
import uuid
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tests.support import api_rules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType

MAX_HOLD = 600.0
"""Seconds after which a held request is given up and its connection closed."""

# What claude itself puts into user turns: reminders, and a record of slash commands such as /clear.
_WRAPPING = re.compile(
    r"<(system-reminder|local-command-[a-z]+|command-[a-z]+)>.*?</\1>\s*", re.DOTALL
)
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}

Json = dict[str, Any]


@dataclass
class Reply:
    """What a turn meets: an answer, and what comes before or instead of it."""

    text: str | None = None
    """The answer; None is the default one (see `Request.default_text`)."""
    tool: tuple[str, Json] | None = None
    """A tool's name and input: the model asks for it, and answers once its result is there."""
    more_tools: tuple[tuple[str, Json], ...] = ()
    """Tools that the model asks for in the same message."""
    after: str | None = None
    """The answer to the tool's result; None is the default one."""
    thought: str | None = None
    """What the model thinks before it answers, or asks for a tool."""
    delay: float = 0
    """Seconds before answering."""
    hold: threading.Event | None = None
    """Answer only when this is set; given up after `MAX_HOLD`."""
    status: int | None = None
    """Answer with this HTTP status and an Anthropic error body."""
    drop: bool = False
    """Close the connection in the middle of the answer."""
    times: int | None = None
    """How many requests this reply is for; None is all."""


@dataclass
class Request:
    """One `POST /v1/messages`."""

    session_id: str | None
    """Claude's session id, as it says itself in `X-Claude-Code-Session-Id`."""
    body: Json
    subagent: str | None = None
    """The id of the subagent it is from: it shares the session id of the conversation."""
    arrived: float = field(default_factory=time.monotonic)
    """When it came, in seconds of the monotonic clock."""
    answered: bool = False
    """Whether the whole answer was handed to the connection."""

    @property
    def model(self) -> str:
        return str(self.body.get("model", ""))

    @property
    def stream(self) -> bool:
        return self.body.get("stream") is True

    @property
    def history(self) -> list[tuple[str, str]]:
        """The conversation as (role, text), without system reminders and system entries."""
        return [
            (message["role"], "\n".join(filter(None, map(_text, _blocks(message)))))
            for message in self._messages()
        ]

    @property
    def user_turns(self) -> list[str]:
        """What the user said, turn by turn, without tool results.

        Each text block is a turn: claude puts one that got no answer and the next into one message.
        """
        return [text for m in self._messages() if m["role"] == "user" for text in _said(m)]

    @property
    def prompt(self) -> str:
        """What the user said last; still that when the request brings a tool's result."""
        return next(reversed(self.user_turns), "")

    @property
    def follows_tool(self) -> bool:
        """Whether a tool's result has come since the user last said something."""
        for message in reversed(self._messages()):
            if message["role"] == "user" and (_said(message) or _has_result(message)):
                return not _said(message)
        return False

    @property
    def is_turn(self) -> bool:
        """Whether this is a step of the main conversation: no subagent's, and no side call.

        A side call, such as for a title, has no tools and asks for no thinking (claude 2.1.330);
        a turn of `claude --tools ""` has no tools either, but thinks.
        """
        return not self.subagent and bool(self.body.get("tools") or "thinking" in self.body)

    @property
    def default_text(self) -> str:
        """`heard: <prompt>`, then ` | before: <turn> ; <turn>` with the user's earlier turns."""
        before = " ; ".join(self.user_turns[:-1])
        return f"heard: {self.prompt}" + (f" | before: {before}" if before else "")

    def _messages(self) -> list[Json]:
        return [m for m in self.body.get("messages", []) if m["role"] in ("user", "assistant")]


class MessagesApi:
    """Serves the API on a free loopback port from `with` to its end.

    Leaving the `with` closes the connections of requests that are still held or delayed. It
    raises AssertionError where a request was refused, saying why.
    """

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.refusals: list[str] = []
        self._rules: list[tuple[str, Reply]] = []
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> MessagesApi:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert error or not self.refusals, "\n".join(["the API refuses:", *self.refusals])

    def on(self, containing: str, reply: Reply) -> None:
        """Give `reply` to turns whose prompt contains `containing`.

        The last registered rule that matches and is not used up wins. A tool's result is answered
        as the tool's rule says.
        """
        with self._changed:
            self._rules.append((containing, reply))

    def turns(self, session_id: str | None = None) -> list[Request]:
        """The requests that are steps of a main conversation, of one session or of all."""
        with self._changed:
            return [
                request
                for request in self.requests
                if request.is_turn and session_id in (None, request.session_id)
            ]

    def wait_for(self, condition: Callable[[MessagesApi], bool], timeout: float = 300) -> None:
        """Wait until `condition` holds, looking whenever a request comes or is done with.

        Raises TimeoutError, listing the requests, after `timeout` seconds.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: condition(self), timeout):
                raise TimeoutError(f"after {timeout} s the API has seen {self._seen()}")

    def _seen(self) -> str:
        lines = [
            f"  {'turn' if r.is_turn else 'no turn'} of {r.session_id}: {r.prompt[:80]!r}"
            f"{'' if r.answered else ' (unanswered)'}"
            for r in self.requests
        ]
        return "\n".join([f"{len(lines)} requests", *lines])

    def _arrive(self, request: Request) -> Reply:
        """Note a request, and say what it meets."""
        with self._changed:
            self.requests.append(request)
            reply = self._reply_to(request)
            self._changed.notify_all()
        return reply

    def _refuse(self, request: Request, why: str) -> None:
        """Note that a request is one that the real API refuses."""
        with self._changed:
            self.refusals.append(f"{why}, in {json.dumps(request.body.get('messages'))}")
        print(f"messages_api: refused: {why}", file=sys.stderr)

    def _finish(self, request: Request, answered: bool) -> None:
        with self._changed:
            request.answered = answered
            self._changed.notify_all()

    def _reply_to(self, request: Request) -> Reply:
        if not request.is_turn:
            return Reply()
        matching = [r for text, r in reversed(self._rules) if text in request.prompt]
        if request.follows_tool:
            tool = next((r for r in matching if r.tool), Reply())
            return Reply(text=tool.after, thought=tool.thought)
        for reply in matching:
            if reply.times is None:
                return reply
            if reply.times > 0:
                reply.times -= 1
                return reply
        return Reply()

    def _pause(self, reply: Reply) -> bool:
        """Wait as `reply` says; whether it may be answered then."""
        if reply.delay:
            self._closing.wait(reply.delay)
        end = time.monotonic() + MAX_HOLD
        while reply.hold and not reply.hold.wait(0.02):
            if self._closing.is_set() or time.monotonic() > end:
                return False
        return not self._closing.is_set()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, api: MessagesApi) -> None:
        self.api = api
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = urlsplit(self.path).path
        if path == "/v1/messages":
            self._messages(json.loads(content))
        elif path == "/v1/messages/count_tokens":
            self._send(200, _json({"input_tokens": len(content) // 4}))
        else:
            self.do_GET()

    def do_GET(self) -> None:
        self._send(404, _json(_error(404)))

    def do_HEAD(self) -> None:
        self.do_GET()

    def _messages(self, body: Json) -> None:
        api = self.server.api
        request = Request(
            session_id=self.headers.get("X-Claude-Code-Session-Id"),
            body=body,
            subagent=self.headers.get("X-Claude-Code-Agent-Id"),
        )
        reply = api._arrive(request)
        answered = False
        try:
            if why := api_rules.refusal(body):
                api._refuse(request, why)
                self._send(400, _json(_error(400, why)))
                answered = True
            else:
                answered = api._pause(reply) and self._answer(request, reply)
        except ConnectionError:
            pass  # the client was killed, which tests do
        finally:
            self.close_connection = True
            api._finish(request, answered)

    def _answer(self, request: Request, reply: Reply) -> bool:
        """Send the answer; whether all of it was sent."""
        if reply.status:
            self._send(reply.status, _json(_error(reply.status)))
            return True
        message = _message(request, reply)
        if request.stream:
            content, kind = b"".join(_events(message)), "text/event-stream"
        else:
            content, kind = _json(message), "application/json"
        self._send(200, content, kind, cut=reply.drop)
        return not reply.drop

    def _send(
        self, status: int, content: bytes, kind: str = "application/json", cut: bool = False
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content[: len(content) // 2] if cut else content)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def _blocks(message: Json) -> list[Json]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _text(block: Json) -> str:
    """A content block as text; empty for images, thinking and the like."""
    if block["type"] == "text":
        return _WRAPPING.sub("", block["text"]).strip()
    if block["type"] == "tool_use":
        return f"{block['name']} {json.dumps(block['input'])}"
    if block["type"] == "tool_result" and "content" in block:
        return "\n".join(map(_text, _blocks(block)))
    return ""


def _said(message: Json) -> list[str]:
    texts = [_text(block) for block in _blocks(message) if block["type"] == "text"]
    return [text for text in texts if text]


def _has_result(message: Json) -> bool:
    return any(block["type"] == "tool_result" for block in _blocks(message))


def _json(value: Json) -> bytes:
    return json.dumps(value).encode()


def _error(status: int, message: str = "") -> Json:
    kind = _ERROR_TYPES.get(status, "api_error")
    return {"type": "error", "error": {"type": kind, "message": message or f"stand-in {kind}"}}


def _message(request: Request, reply: Reply) -> Json:
    """The model's message, as plain JSON has it."""
    content: list[Json] = []
    if reply.thought:
        content.append({"type": "thinking", "thinking": reply.thought, "signature": "c2lnbmVk"})
    if reply.tool:
        # Unique for ever: conversations outlive the API that answered their first turns.
        content += (
            {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex}", "name": name, "input": given}
            for name, given in (reply.tool, *reply.more_tools)
        )
    else:
        text = request.default_text if reply.text is None else reply.text
        content.append({"type": "text", "text": text})
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": request.model,
        "content": content,
        "stop_reason": "tool_use" if reply.tool else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }


def _events(message: Json) -> Iterator[bytes]:
    """The same message as server-sent events."""
    opening = {**message, "content": [], "stop_reason": None}
    ending = {"stop_reason": message["stop_reason"], "stop_sequence": None}
    yield _event("message_start", message=opening)
    for index, block in enumerate(message["content"]):
        start, deltas = _streamed(block)
        yield _event("content_block_start", index=index, content_block=start)
        for delta in deltas:
            yield _event("content_block_delta", index=index, delta=delta)
        yield _event("content_block_stop", index=index)
    yield _event("message_delta", delta=ending, usage={"output_tokens": 10})
    yield _event("message_stop")


def _streamed(block: Json) -> tuple[Json, list[Json]]:
    """How a content block starts, and what is added to it."""
    if block["type"] == "tool_use":
        given = json.dumps(block["input"])
        return {**block, "input": {}}, [{"type": "input_json_delta", "partial_json": given}]
    if block["type"] == "thinking":
        return {**block, "thinking": "", "signature": ""}, [
            {"type": "thinking_delta", "thinking": block["thinking"]},
            {"type": "signature_delta", "signature": block["signature"]},
        ]
    return {**block, "text": ""}, [{"type": "text_delta", "text": block["text"]}]


def _event(kind: str, **fields: Any) -> bytes:
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def main() -> None:
    """Serve until killed, with the URL as the first line on stdout."""
    with MessagesApi() as api:
        print(api.url, flush=True)
        threading.Event().wait()


if __name__ == "__main__":
    main()
