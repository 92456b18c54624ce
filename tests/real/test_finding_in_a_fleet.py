"""What was said on one host of a fleet is found, read and followed on the other."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.claude_shim import PACKAGE, PROGRAM

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.support.fleet import Host

    Hosts = tuple[Host, Host]


def run(host: Host, *args: str) -> subprocess.CompletedProcess[str]:
    """`claude-shim ARGS…` on a host."""
    return host.run("-c", PROGRAM, *args, program=Path(sys.executable), env={"PYTHONPATH": PACKAGE})


def texts(host: Host, *args: str) -> list[str]:
    done = run(host, *args, "--json")
    assert done.stderr == "", done
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return [each["text"] for each in found]


@contextmanager
def following(host: Host, room: str) -> Iterator[subprocess.Popen[str]]:
    process = host.start(
        *("-c", PROGRAM, "read", room, "--follow", "--json"),
        program=Path(sys.executable),
        env={"PYTHONPATH": PACKAGE},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_search_says_what_it_leaves_out_and_fetches_it_if_asked(hosts: Hosts) -> None:
    a, b = hosts
    a.ask("Remember the heron", room="r")

    left_out = run(b, "search", "heron")
    assert (left_out.returncode, left_out.stdout) == (1, "")
    assert "what other hosts have of 1 room; --fleet does" in left_out.stderr

    assert texts(b, "search", "remember the heron", "--fleet")[-1] == "Remember the heron"


def test_a_room_of_another_host_is_read_as_that_left_it(hosts: Hosts) -> None:
    a, b = hosts
    b.ask("one", room="r")
    a.ask("two", room="r")

    assert texts(b, "read", "r") == [
        *("one", "heard: one", "two", "heard: two | before: one"),
    ]


def test_what_is_said_on_another_host_is_shown_as_it_is_said(hosts: Hosts) -> None:
    a, b = hosts
    a.ask("one", room="r")
    with following(b, "r") as process:
        assert process.stdout
        said = (json.loads(line)["text"] for line in process.stdout)
        assert [next(said), next(said)] == ["one", "heard: one"]
        a.ask("two", room="r")
        assert [next(said), next(said)] == ["two", "heard: two | before: one"]
        b.ask("three", room="r")
        assert [next(said), next(said)] == ["three", "heard: three | before: one ; two"]
