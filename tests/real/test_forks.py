"""Forks that we write, and turns that we append: real claude resumes them, and sends each once."""

from __future__ import annotations

import base64
import json
import posix
import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from shim.claude import notice
from shim.forks import belonging, catching_up, notifying, writing
from tests.support import real_claude
from tests.support.messages_api import Reply

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import Stream, World

BASH = ("Bash", {"command": "echo from the tool", "description": "say it"})
ALLOWED = "--dangerously-skip-permissions"


class Room:
    """A conversation of real claude and its forks, without the shim around it."""

    def __init__(self, world: World, api: MessagesApi) -> None:
        self.world = world
        self.api = api
        self.store = str(world.home / "store")
        self.head = str(uuid.uuid4())
        self.ask("zero", self.head, "--session-id")

    def ask(self, prompt: str, session_id: str, how: str = "--resume", *args: str) -> str:
        """One turn of a conversation; what claude answers."""
        binary = real_claude.binary(self.world.version)
        done = self.world.run(how, session_id, ALLOWED, *args, "-p", prompt, program=binary)
        return done.stdout.removesuffix("\n")

    def path(self, session_id: str) -> Path:
        (path,) = self.world.transcripts(session_id)
        return path

    def fork(self) -> str:
        fork = str(uuid.uuid4())
        assert writing.write(self.store, str(self.path(self.head)), fork, "a test")
        return fork

    def catch_up(self, session_id: str) -> list[str]:
        return [turn.prompt for turn in catching_up.catch_up(self.store, session_id)]

    def sent(self, session_id: str) -> list[str]:
        """What the user said in all, as the next request of a conversation has it."""
        self.ask("what was said?", session_id)
        return [
            turn
            for turn in self.api.turns(session_id)[-1].user_turns[:-1]
            if not turn.startswith("Continue from where")
        ]

    def request(self, session_id: str) -> str:
        """The messages of the last request of a conversation."""
        return json.dumps(self.api.turns(session_id)[-1].body["messages"])


@pytest.fixture
def room(any_claude: World, api: MessagesApi, monkeypatch: pytest.MonkeyPatch) -> Room:
    config = any_claude.home / ".claude"
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", str(config).encode())
    return Room(any_claude, api)


def test_a_fork_that_we_wrote_resumes_and_its_turns_come_back_in_order(room: Room) -> None:
    fork = room.fork()
    assert room.ask("one", fork) == "heard: one | before: zero"
    room.ask("two", room.head)
    room.ask("three", fork)
    assert room.catch_up(room.head) == ["one", "three"]
    assert room.sent(room.head) == ["zero", "two", "one", "three"]
    assert room.catch_up(fork) == ["two", "what was said?"]
    assert room.sent(fork) == ["zero", "one", "three", "two", "what was said?"]


def test_tools_thoughts_and_sidecars_come_back(room: Room) -> None:
    long = "x" * 40_000
    script = f"print('{long[:100]}' * 400)"
    call = ("Bash", {"command": f'python3 -c "{script}"', "description": "much"})
    room.api.on("use tools", Reply(tool=BASH, more_tools=(BASH, call), thought="hm", after="done"))
    fork = room.fork()
    assert room.ask("use tools", fork) == "done"
    assert room.catch_up(room.head) == ["use tools"]
    assert room.sent(room.head) == ["zero", "use tools"]
    request = room.request(room.head)
    assert request.count('"tool_use"') == 3
    assert request.count("from the tool") >= 4  # each call, and its result
    assert '"hm"' not in request
    results = list((room.path(room.head).parent / room.head / "tool-results").iterdir())
    assert [path.stat().st_size > 40_000 for path in results] == [True]
    assert str(results[0]) in request


PIXEL = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)


def stream(room: Room, session_id: str) -> Stream:
    """A streaming claude on a conversation."""
    return room.world.stream(
        *("--resume", session_id, ALLOWED), program=real_claude.binary(room.world.version)
    )


def test_images_subagents_and_interrupted_turns_come_back(room: Room) -> None:
    picture = room.world.work / "pixel.png"
    picture.write_bytes(base64.b64decode(PIXEL))
    room.api.on("look at it", Reply(tool=("Read", {"file_path": str(picture)}), after="a pixel"))
    helper: dict[str, object] = {
        "description": "help",
        "prompt": "help me",
        "subagent_type": "general-purpose",
    }
    helper["run_in_background"] = False
    room.api.on("get help", Reply(tool=("Agent", helper), after="helped"))
    hold = threading.Event()
    room.api.on("wait for it", Reply(hold=hold))
    fork = room.fork()
    assert room.ask("look at it", fork) == "a pixel"
    room.ask("get help", fork)
    with_input = stream(room, fork)
    with_input.send("wait for it")
    room.api.wait_for(lambda api: any("wait for it" in turn.prompt for turn in api.turns()))
    interrupt = {"type": "control_request", "request_id": "1", "request": {"subtype": "interrupt"}}
    assert with_input.process.stdin
    with_input.process.stdin.write(json.dumps(interrupt) + "\n")
    with_input.next_result()
    hold.set()
    with_input.close()

    appended = room.catch_up(room.head)

    assert [said for said in appended if not said.startswith("<task-notification>")] == [
        "look at it",
        "get help",
        "wait for it",
    ]
    sent = room.sent(room.head)
    assert [said for said in sent if not said.startswith("<task-notification>")] == [
        *("zero", "look at it", "get help", "wait for it", "[Request interrupted by user]")
    ]
    assert room.request(room.head).count('"type": "image"') == 1
    assert list((room.path(room.head).parent / room.head / "subagents").glob("*.jsonl"))


def test_what_failed_does_not_come_back_and_a_torn_line_is_in_nobodys_way(room: Room) -> None:
    fork = room.fork()
    room.api.on("fail", Reply(status=400))
    room.ask("fail", fork)
    room.ask("after it", fork)
    for session_id in (fork, room.head):
        with room.path(session_id).open("a") as file:
            file.write('{"parentUuid":null,"type":"us')
    assert room.catch_up(room.head) == ["after it"]
    assert room.sent(room.head) == ["zero", "after it"]


def test_a_turn_that_ran_out_of_turns_comes_back(room: Room) -> None:
    room.api.on("use a tool", Reply(tool=BASH))
    fork = room.fork()
    room.ask("use a tool", fork, "--resume", "--max-turns", "1")
    assert room.catch_up(room.head) == ["use a tool"]
    assert room.sent(room.head) == ["zero", "use a tool"]


def test_compactions_on_either_side_stay_there(room: Room) -> None:
    room.api.on("CRITICAL", Reply(text="<summary>all that was said</summary>"))
    fork = room.fork()
    room.ask("one", fork)
    compacting = stream(room, fork)
    compacting.ask("/compact")
    assert compacting.close() == 0
    room.ask("two", fork)
    room.ask("three", room.head)
    assert room.catch_up(room.head) == ["one", "two"]
    assert room.sent(room.head) == ["zero", "three", "one", "two"]

    compacting = stream(room, room.head)
    compacting.ask("/compact")
    assert compacting.close() == 0
    assert list(belonging.resumable(room.store, room.head)) == []
    other = room.fork()
    room.ask("four", other)
    assert room.catch_up(room.head) == ["four"]
    sent = room.sent(room.head)
    assert sent[-1] == "four"
    assert "three" not in sent


def test_what_was_notified_is_known_and_is_not_passed_on(room: Room) -> None:
    fork = room.fork()
    room.ask("told", fork)
    found = catching_up.compare(room.store, room.head)
    assert found
    text = notifying.text(*found)
    output = {"hookEventName": "UserPromptSubmit", "additionalContext": text}
    told = room.world.work / "told.json"
    told.write_text(json.dumps({"hookSpecificOutput": output}))
    hook = {"hooks": [{"type": "command", "command": f"cat {told}"}]}
    settings = json.dumps({"hooks": {"UserPromptSubmit": [hook]}})
    room.ask("hear it", room.head, "--resume", "--settings", settings)
    assert "heard: told" in room.request(room.head)
    assert room.catch_up(room.head) == []
    assert room.catch_up(fork) == ["hear it"]
    assert notice.TAG not in room.path(fork).read_text()


def test_fifty_turns_and_a_fork_of_a_fork_come_back(room: Room) -> None:
    fork = room.fork()
    said = [f"turn {number}" for number in range(50)]
    with_input = stream(room, fork)
    for prompt in said:
        with_input.ask(prompt)
    assert with_input.close() == 0
    other = room.fork()
    assert room.catch_up(other) == said
    room.ask("one more", other)
    assert room.catch_up(room.head) == [*said, "one more"]
    assert room.sent(room.head) == ["zero", *said, "one more"]
