"""Running another program for what it prints."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shim.base import programs
from shim.base.programs import Overrun, run

# Far above what any of these takes, and far below what those that are waited for would.
LONG = 30


def sh(script: str, timeout: float = LONG, stdin: bytes = b"") -> programs.Completed:
    return run(["/bin/sh", "-c", script], os.environ, timeout, stdin=stdin)


@pytest.fixture
def left_behind(tmp_path: Path) -> Iterator[Path]:
    """Where a program notes the child that it leaves behind."""
    path = tmp_path / "child"
    yield path
    os.kill(int(path.read_text()), signal.SIGKILL)


def test_what_it_prints_and_how_it_ends_is_returned() -> None:
    outcome = sh("cat; echo bad >&2; exit 3", stdin=b"hello")
    assert outcome == programs.Completed(3, "hello", "bad\n")


def test_one_that_reads_nothing_is_no_failure() -> None:
    assert sh("exec <&-; kill -9 $$", stdin=b"x" * 4096).exit_code == -signal.SIGKILL


def test_a_child_that_keeps_the_output_open_is_not_waited_for(left_behind: Path) -> None:
    outcome = sh(f"sleep 300 & echo $! >{left_behind}; echo hi; echo bad >&2")
    assert outcome == programs.Completed(0, "hi\n", "bad\n")
    os.kill(int(left_behind.read_text()), 0)  # an updater may be at work: it is left alone


def test_a_child_that_keeps_printing_is_not_waited_for(left_behind: Path) -> None:
    slowly = "while :; do echo y; sleep 0.01; done"
    program = f"echo hi; ({slowly}) & echo $! >{left_behind}"
    assert sh(program).output.startswith("hi\n")


def test_all_that_was_printed_at_its_end_is_read() -> None:
    outcome = sh(f"{sys.executable} -c 'print(\"x\" * 60_000)'; sleep 300 & echo $! >&2")
    os.kill(int(outcome.errors), signal.SIGKILL)
    assert outcome.output == "x" * 60_000 + "\n"


def test_one_that_never_ends_is_ended_with_its_children(tmp_path: Path) -> None:
    with pytest.raises(Overrun, match=r"does not end within 0\.2 s"):
        sh(f"sleep 300 & echo $! >{tmp_path}/child; wait", timeout=0.2)
    child = int((tmp_path / "child").read_text())
    while is_running(child):
        time.sleep(0.01)


def test_one_that_closes_its_output_and_never_ends_is_ended() -> None:
    with pytest.raises(Overrun):
        sh("exec >&- 2>&- sleep 300", timeout=0.2)


@pytest.mark.parametrize("stream", [1, 2])
def test_one_that_never_stops_printing_is_ended(stream: int) -> None:
    with pytest.raises(Overrun, match="prints more than 1 MiB"):
        sh(f"exec yes >&{stream}")


def test_what_cannot_be_run(tmp_path: Path) -> None:
    with pytest.raises(PermissionError):
        run([tmp_path], os.environ, LONG)


def is_running(pid: int) -> bool:
    """Whether it is there, and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
