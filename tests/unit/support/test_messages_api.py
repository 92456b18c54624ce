"""The stand-in Messages API, spoken to over loopback as claude speaks to it."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest

from tests.support.messages_api import MessagesApi, Reply
from tests.support.real_claude import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[3]
SESSION = "0d4ba9a8-6a6a-4f0e-9d3b-5b3e4a6f7c11"
BASH: tuple[str, dict[str, Any]] = ("Bash", {"command": "echo hi"})


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi() as running:
        yield running


def user(*content: str | dict[str, Any]) -> dict[str, Any]:
    blocks = [{"type": "text", "text": c} if isinstance(c, str) else c for c in content]
    return {"role": "user", "content": blocks}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


TOOL_USE = {
    "role": "assistant",
    "content": [{"type": "tool_use", "id": "t1", "name": BASH[0], "input": BASH[1]}],
}
TOOL_RESULT = user(
    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "hi"}]}
)


def body(*messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    tools = [{"name": "Bash", "input_schema": {"type": "object"}}]
    return {"model": "m", "max_tokens": 100, "tools": tools, "messages": list(messages), **fields}


def call(
    url: str, method: str, path: str, content: Any = None, **more_headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        headers = {"X-Claude-Code-Session-Id": SESSION, **more_headers}
        connection.request(method, path, json.dumps(content).encode(), headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def ask(api: MessagesApi, *messages: dict[str, Any], **fields: Any) -> dict[str, Any]:
    status, content = call(api.url, "POST", "/v1/messages?beta=true", body(*messages, **fields))
    assert status == 200
    message: dict[str, Any] = json.loads(content)
    return message


def text(message: dict[str, Any]) -> str:
    return str(message["content"][0]["text"])


def stream(api: MessagesApi, *messages: dict[str, Any]) -> list[dict[str, Any]]:
    _, content = call(api.url, "POST", "/v1/messages", body(*messages, stream=True))
    lines = content.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data")]


def test_the_default_answer_repeats_the_prompt_and_the_users_earlier_turns(
    api: MessagesApi,
) -> None:
    assert text(ask(api, user("red"))) == "heard: red"
    third = ask(api, user("red"), assistant("x"), user("blue"), assistant("y"), user("green"))
    assert text(third) == "heard: green | before: red ; blue"


def test_what_claude_puts_around_the_users_words_is_left_out(api: MessagesApi) -> None:
    system = {"role": "system", "content": "# Environment"}
    caveat = "<local-command-caveat>The command below…</local-command-caveat>\n"
    cleared = "<command-name>/clear</command-name>\n<command-args></command-args>"
    reminder = "<system-reminder>\nlong\n</system-reminder>\n"
    answer = ask(api, user(reminder, caveat, cleared, "hello"), system)
    assert text(answer) == "heard: hello"
    assert api.requests[0].history == [("user", "hello")]


def test_a_turn_that_got_no_answer_is_a_turn_before_the_prompt(api: MessagesApi) -> None:
    api.on("boom", Reply(status=500))
    assert text(ask(api, user("boom", "next"))) == "heard: next | before: boom"


def test_a_request_shows_its_session_model_and_conversation(api: MessagesApi) -> None:
    before = time.monotonic()
    ask(api, user("run it"), TOOL_USE, TOOL_RESULT)
    request = api.requests[0]
    assert (request.session_id, request.model, request.stream) == (SESSION, "m", False)
    assert request.history == [
        ("user", "run it"),
        ("assistant", 'Bash {"command": "echo hi"}'),
        ("user", "hi"),
    ]
    assert request.prompt == "run it"
    assert before <= request.arrived <= time.monotonic()


def test_a_stream_has_the_events_claude_needs_in_order(api: MessagesApi) -> None:
    events = stream(api, user("hello"))
    assert [event["type"] for event in events] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert events[2]["delta"] == {"type": "text_delta", "text": "heard: hello"}
    assert events[4]["delta"]["stop_reason"] == "end_turn"


def test_a_tool_is_streamed_as_json_deltas(api: MessagesApi) -> None:
    api.on("run", Reply(tool=BASH))
    events = stream(api, user("run it"))
    assert events[1]["content_block"]["name"] == "Bash"
    assert events[1]["content_block"]["input"] == {}
    assert json.loads(events[2]["delta"]["partial_json"]) == BASH[1]
    assert events[4]["delta"]["stop_reason"] == "tool_use"


@pytest.mark.parametrize(
    ("after", "answer"), [(None, "heard: run it"), ("it said hi", "it said hi")]
)
def test_a_tool_is_asked_for_once_and_its_result_is_answered(
    api: MessagesApi, after: str | None, answer: str
) -> None:
    api.on("run", Reply(tool=BASH, after=after, times=1))
    first = ask(api, user("run it"))
    assert first["stop_reason"] == "tool_use"
    assert first["content"][0]["input"] == BASH[1]
    assert text(ask(api, user("run it"), TOOL_USE, TOOL_RESULT)) == answer


def test_a_turn_of_nothing_but_reminders_does_not_ask_for_the_tool_again(api: MessagesApi) -> None:
    api.on("run", Reply(tool=BASH))
    notice = user("<system-reminder>the agent is done</system-reminder>")
    later = ask(api, user("run it"), TOOL_USE, TOOL_RESULT, assistant("ok"), notice)
    assert text(later) == "heard: run it"


def test_the_latest_matching_rule_wins_until_it_is_used_up(api: MessagesApi) -> None:
    api.on("e", Reply(text="always"))
    api.on("red", Reply(text="first"))
    assert text(ask(api, user("blue"))) == "always"
    assert text(ask(api, user("red"))) == "first"
    api.on("red", Reply(text="used up", times=1))
    assert [text(ask(api, user("red"))) for _ in range(2)] == ["used up", "first"]


def test_side_calls_are_no_turns_and_meet_no_rules(api: MessagesApi) -> None:
    api.on("hello", Reply(text="rule"))
    title = ask(api, user("<session>\nhello\n</session>\nWrite the title"), tools=[])
    assert text(title).startswith("heard: <session>")
    ask(api, user("hello"))
    ask(api, user("bare"), tools=[], thinking={"type": "adaptive"})
    assert [request.prompt for request in api.turns()] == ["hello", "bare"]
    assert len(api.turns(SESSION)) == 2
    assert api.turns("another") == []
    assert len(api.requests) == 3


def test_a_subagents_request_is_no_turn(api: MessagesApi) -> None:
    agent = {"X-Claude-Code-Agent-Id": "a746fff3fb985ed24"}
    call(api.url, "POST", "/v1/messages", body(user("subtask")), **agent)
    assert api.requests[0].subagent == "a746fff3fb985ed24"
    assert api.turns() == []


@pytest.mark.parametrize(
    ("status", "kind"),
    [(429, "rate_limit_error"), (500, "api_error"), (529, "overloaded_error")],
)
def test_an_error_has_its_status_and_type(api: MessagesApi, status: int, kind: str) -> None:
    api.on("boom", Reply(status=status, times=1))
    got, content = call(api.url, "POST", "/v1/messages", body(user("boom")))
    error = json.loads(content)
    assert (got, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert text(ask(api, user("boom"))) == "heard: boom"


@pytest.mark.parametrize("streaming", [True, False])
def test_a_dropped_answer_breaks_off(api: MessagesApi, streaming: bool) -> None:
    api.on("boom", Reply(drop=True))
    with pytest.raises(http.client.IncompleteRead):
        call(api.url, "POST", "/v1/messages", body(user("boom"), stream=streaming))
    assert not api.requests[0].answered


def test_a_held_answer_comes_when_it_is_let_go(api: MessagesApi) -> None:
    hold = threading.Event()
    api.on("wait", Reply(hold=hold))
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(ask, api, user("wait"))
        api.wait_for(lambda a: len(a.requests) == 1)
        assert not api.requests[0].answered
        assert text(ask(api, user("meanwhile"))) == "heard: meanwhile"
        assert not answer.done()
        hold.set()
        assert text(answer.result()) == "heard: wait"
    api.wait_for(lambda a: a.requests[0].answered)


def test_a_delayed_answer_comes_after_the_delay(api: MessagesApi) -> None:
    api.on("slow", Reply(delay=0.05))
    before = time.monotonic()
    ask(api, user("slow"))
    assert time.monotonic() - before >= 0.05


@pytest.mark.parametrize("reply", [Reply(hold=threading.Event()), Reply(delay=60)])
def test_closing_lets_go_of_requests_that_are_still_waiting(reply: Reply) -> None:
    with ThreadPoolExecutor() as pool:
        with MessagesApi() as api:
            api.on("wait", reply)
            answer = pool.submit(ask, api, user("wait"))
            api.wait_for(lambda a: len(a.requests) == 1)
            before = time.monotonic()
        with pytest.raises(ConnectionError):
            answer.result()
    assert time.monotonic() - before < 5


def test_waiting_in_vain_says_what_was_seen(api: MessagesApi) -> None:
    ask(api, user("hello"))
    with pytest.raises(TimeoutError, match=rf"1 requests\n  turn of {SESSION}: 'hello'"):
        api.wait_for(lambda a: len(a.requests) == 2, timeout=0.01)


def test_a_request_that_the_real_api_refuses_is_refused_and_fails_the_test() -> None:
    why = "messages.1: all messages must have non-empty content"
    api = MessagesApi().__enter__()
    api.on("again", Reply(hold=threading.Event()))
    refused = body(user("one"), assistant(""), user("again"))
    status, content = call(api.url, "POST", "/v1/messages", refused)
    assert (status, json.loads(content)["error"]["message"]) == (400, why)
    assert text(ask(api, user("next"))) == "heard: next"
    with pytest.raises(AssertionError, match=why):
        api.__exit__(None, None, None)


def test_a_refused_request_does_not_hide_what_else_fails() -> None:
    api = MessagesApi().__enter__()
    call(api.url, "POST", "/v1/messages", body(assistant("")))
    api.__exit__(ZeroDivisionError, ZeroDivisionError(), None)


def test_many_at_once_are_all_answered(api: MessagesApi) -> None:
    with ThreadPoolExecutor(40) as pool:
        answers = list(pool.map(lambda n: text(ask(api, user(f"n{n}"))), range(40)))
    assert answers == [f"heard: n{n}" for n in range(40)]
    api.wait_for(lambda a: all(r.answered for r in a.requests) and len(a.requests) == 40)


def test_tokens_are_counted_and_everything_else_is_not_found(api: MessagesApi) -> None:
    status, content = call(api.url, "POST", "/v1/messages/count_tokens?beta=true", body())
    assert status == 200
    assert json.loads(content)["input_tokens"] > 0
    assert call(api.url, "HEAD", "/api/hello") == (404, b"")
    for method in ("GET", "POST"):
        status, content = call(api.url, method, "/v1/models")
        assert (status, json.loads(content)["error"]["type"]) == (404, "not_found_error")
    assert api.requests == []


def test_run_as_a_module_it_prints_its_url_and_serves() -> None:
    command = [sys.executable, "-m", "tests.support.messages_api"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            status, content = call(url, "POST", "/v1/messages", body(user("hello")))
        finally:
            process.kill()
    assert (status, text(json.loads(content))) == (200, "heard: hello")
