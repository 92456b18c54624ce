"""A program of the Claude Agent SDK and the CLI resume each other's conversations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import agent_sdk
from tests.support.real_claude import binary

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.support.fleet import Host

    Hosts = tuple[Host, Host]

ROOM = "r"


class Program:
    """A program of the SDK on a host, that says one prompt after another in the room.

    Its temporary files are the host's own, in `temporary`.
    """

    def __init__(self, host: Host, *prompts: str, begins: bool = False) -> None:
        self.temporary = host.directory(host.home / "tmp")
        asked = {
            "prompts": prompts,
            "room": ROOM,
            "begins": begins,
            "claude": str(binary(host.version)),
        }
        environment = host.environment() | {
            "PYTHONPATH": f"{agent_sdk.wheel()}:{Path(__file__).parents[2]}",
            "TMPDIR": str(self.temporary),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.sdk_program", json.dumps(asked)],
            env=environment,
            cwd=host.work,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def says(self) -> dict[str, str]:
        """The next line it prints."""
        assert self._process.stdout
        said: dict[str, str] = json.loads(self._process.stdout.readline())
        return said

    def go_on(self) -> None:
        assert self._process.stdin
        self._process.stdin.write("\n")

    def end(self) -> list[dict[str, str]]:
        """Let it end, and return what it prints until then."""
        self.go_on()
        assert self._process.stdout
        said = [json.loads(line) for line in self._process.stdout]
        assert self._process.wait(120) == 0
        return said

    def kill(self) -> None:
        self._process.kill()
        self._process.communicate()


@pytest.fixture
def program(request: pytest.FixtureRequest) -> Callable[..., Program]:
    def start(host: Host, *prompts: str, begins: bool = False) -> Program:
        started = Program(host, *prompts, begins=begins)
        request.addfinalizer(started.kill)
        return started

    return start


def test_a_room_goes_on_with_what_a_program_has_begun_and_the_other_way_round(
    hosts: Hosts, program: Callable[..., Program]
) -> None:
    a, b = hosts
    first = program(a, "one", begins=True)
    assert (first.says(), first.end()) == ({"answer": "heard: one"}, [])

    assert b.ask("two", room=ROOM) == "heard: two | before: one"
    b.wait_until_given_back()
    again = program(a, "three")
    assert again.says() == {"answer": "heard: three | before: one ; two"}
    assert again.end() == []
    assert [*again.temporary.glob("claude-resume-*")] == []

    assert b.ask("four", room=ROOM) == "heard: four | before: one ; two ; three"
    assert a.ask("five", room=ROOM) == "heard: five | before: one ; two ; three ; four"


def test_a_turn_of_a_program_is_in_the_room_while_the_program_lives(
    hosts: Hosts, program: Callable[..., Program]
) -> None:
    a, b = hosts
    running = program(a, "one", "late", begins=True)
    assert running.says() == {"answer": "heard: one"}
    assert b.ask("two", room=ROOM) == "heard: two | before: one"
    b.wait_until_given_back()

    running.go_on()

    said = [running.says(), *running.end()]
    assert {"answer": "heard: late | before: one"} in said
    assert any("has gone on elsewhere since" in each.get("problem", "") for each in said), said
    assert b.ask("three", room=ROOM) == "heard: three | before: one ; two"


def test_a_program_goes_on_on_a_host_that_has_nothing(
    hosts: Hosts, program: Callable[..., Program]
) -> None:
    a, b = hosts
    a.ask("one", room=ROOM)
    a.wait_until_given_back()

    running = program(b, "two")

    assert (running.says(), running.end()) == ({"answer": "heard: two | before: one"}, [])
    assert a.ask("three", room=ROOM) == "heard: three | before: one ; two"
