"""What a room's claude starts: it inherits the room's names, and may outlive that claude."""

from __future__ import annotations

import json
import os
import shlex
import signal
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from shim.base.session_key import SessionKey, derive
from tests.support import opencode
from tests.support.messages_api import Reply
from tests.support.opencode import OFF_THE_NETWORK, OpenCode
from tests.support.real_claude import knows, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

# A server that keeps the environment of its start and runs each line that it is sent, as a tmux
# server does with the command of each new window, and a plugin's worker with its jobs. It stands in
# for tmux, which not every machine has.
SERVER = """\
#!/bin/sh
exec </dev/null >/dev/null 2>&1
mkfifo "$1/started" && mv "$1/started" "$1/jobs"
echo $$ >"$1/pid"
while read -r job <"$1/jobs"; do
    sh -c "$job" >"$1/out" 2>"$1/errors"
    mv "$1/errors" "$1/done"
done
"""


class Server:
    """Such a server, which something in a claude starts by its `command`."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        program = directory / "server"
        directory.mkdir()
        program.write_text(SERVER)
        program.chmod(0o755)
        self.command = f"setsid {program} {directory} & until [ -p {directory}/jobs ]; do :; done"

    def run(self, command: str) -> str:
        """Have it run a command; what that prints to stderr."""
        done = self._directory / "done"
        done.unlink(missing_ok=True)
        wait_until((self._directory / "jobs").exists, "the server listens")
        (self._directory / "jobs").write_text(command + "\n")
        wait_until(done.exists, f"the server has run {command}")
        return done.read_text()

    def kill(self) -> None:
        with suppress(FileNotFoundError, ProcessLookupError):
            os.kill(int((self._directory / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "server")
    yield server
    server.kill()


def asked_to(world: World, api: MessagesApi, command: str, room: str = "r") -> None:
    """Have the claude of a room run a command by its Bash tool."""
    api.on("do it", Reply(tool=("Bash", {"command": command, "description": "x"})))
    world.ask("do it", "--dangerously-skip-permissions", room=room)


def by_a_hook(world: World, _: MessagesApi, server: Server) -> None:
    """A `SessionEnd` hook detaches the server."""
    hook = {"hooks": [{"type": "command", "command": server.command}]}
    settings = json.dumps({"hooks": {"SessionEnd": [hook]}})
    world.ask("one", "--settings", settings, room="r")


def by_a_bash_tool(world: World, api: MessagesApi, server: Server) -> None:
    """The model has its Bash tool start the server."""
    world.ask("one", room="r")
    asked_to(world, api, server.command)


@pytest.mark.parametrize("start", [by_a_hook, by_a_bash_tool])
def test_what_outlives_its_claude_neither_reads_nor_writes_the_room(
    any_claude: World,
    api: MessagesApi,
    server: Server,
    start: Callable[[World, MessagesApi, Server], None],
) -> None:
    world = any_claude
    start(world, api, server)
    known = knows(world.ask("two", room="r"))

    for prompt in ("first chat", "second chat"):
        warned = server.run(f"claude -p '{prompt}'")
        assert "room 'r' is inherited from a claude that has ended, and not used" in warned
    assert server.run("NSED_AGENT_NAME=helper claude -p 'as a helper'") == warned

    chats = [turn.user_turns for turn in api.turns() if "chat" in turn.prompt]
    assert chats == [["first chat"], ["second chat"]]
    assert knows(world.ask("three", room="r")) == [*known, "two"]
    assert world.mapping("r", "helper") is None


def test_a_room_that_is_named_in_what_outlives_its_claude_counts(
    world: World, api: MessagesApi, server: Server
) -> None:
    by_a_bash_tool(world, api, server)
    assert server.run("NSED_ROOM_ID=bot claude -p hello") == ""
    assert server.run("NSED_ROOM_ID=bot claude -p again") == ""
    assert knows(world.ask("once more", room="bot")) == ["hello", "again"]


def test_what_was_detached_from_a_live_claude_is_not_inside_it(
    world: World, api: MessagesApi, server: Server
) -> None:
    stream = world.stream("--dangerously-skip-permissions", room="r")
    command = {"command": server.command, "description": "x"}
    api.on("start it", Reply(tool=("Bash", command)))
    stream.ask("start it")

    assert "a claude that did not start this command" in server.run("claude -p meanwhile")

    assert "meanwhile" not in stream.ask("one")
    assert stream.close() == 0
    assert "meanwhile" not in world.ask("two", room="r")


def test_an_agent_that_is_named_inside_is_one_of_the_room(world: World, api: MessagesApi) -> None:
    asked_to(world, api, "NSED_AGENT_NAME=helper claude -p 'help me'")
    assert knows(world.ask("next", room="r", agent="helper")) == ["help me"]
    assert "help me" not in world.ask("next", room="r")


def test_of_nested_claudes_each_has_its_own_room_and_lends_it_to_none(
    world: World, api: MessagesApi
) -> None:
    deeper = {"command": "claude -p deepest", "description": "x"}
    api.on("go deeper", Reply(tool=("Bash", deeper)))
    call = "claude -p 'go deeper' --dangerously-skip-permissions"
    asked_to(world, api, f"NSED_ROOM_ID=inner {call}")

    [deepest] = [turn.user_turns for turn in api.turns() if turn.prompt == "deepest"]
    assert deepest == ["deepest"]
    assert knows(world.ask("next", room="inner")) == ["go deeper"]
    assert knows(world.ask("next", room="r")) == ["do it"]


def test_nseds_worker_inside_a_claude_has_its_own_room(world: World, api: MessagesApi) -> None:
    session_id = derive(SessionKey(b"job", b"critic"))
    names = "NSED_SESSION_ID=job NSED_AGENT_NAME=critic"
    asked_to(world, api, f"{names} claude --print --session-id {session_id} propose </dev/null")

    assert knows(world.ask("next", room="job", agent="critic")) == ["propose"]
    assert knows(world.ask("next", room="r")) == ["do it"]


def test_an_opencode_inside_a_claude_has_its_own_room(world: World, api: MessagesApi) -> None:
    claude = {"command": "claude -p one", "description": "asks claude"}
    api.on("ask one", Reply(tool=("bash", claude)))
    OpenCode(world, api.url)
    world.claude_shim("opencode", "install")
    variables = [f"{name}={shlex.quote(value)}" for name, value in OFF_THE_NETWORK.items()]
    started = " ".join([*variables, str(opencode.binary()), "run", "'ask one'", "</dev/null"])
    asked_to(world, api, started)

    [asked] = [turn.user_turns for turn in api.turns() if turn.prompt == "one"]
    assert asked == ["one"]
    rooms = json.loads((world.store / "sessions.json").read_text())
    assert [room[:7] for room in rooms if room != "r"] == ["oc-ses_"]
    assert knows(world.ask("next", room="r")) == ["do it"]
