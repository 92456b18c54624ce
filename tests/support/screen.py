"""What a command shows on a terminal of some size, as an emulator of one sees it."""

from __future__ import annotations

import errno
import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyte

from tests.support.claude_shim import PACKAGE, PROGRAM
from tests.support.recorder import PATIENCE

if TYPE_CHECKING:
    from tests.support.recorder import World


@dataclass
class Shown:
    """What a terminal got, and what is on it then."""

    sent: bytes
    lines: list[str]
    """Without spaces and empty lines at their ends."""
    colours: set[tuple[str, str]]
    """The foreground and background of the characters."""
    exit_code: int

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


def show(
    world: World,
    *args: str,
    columns: int = 80,
    rows: int = 60,
    **variables: str,
) -> Shown:
    """Run `claude-shim` on a terminal of that size to its end."""
    environment = {name: str(value) for name, value in world.environment.items()}
    environment |= {"PYTHONPATH": PACKAGE, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
    environment |= variables
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *args],
            env=environment,
            cwd=world.directory,
            stdin=follower,
            stdout=follower,
            stderr=follower,
            start_new_session=True,
        )
    finally:
        os.close(follower)
    try:
        sent = _read(leader)
        exit_code = process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    seen = pyte.Screen(columns, rows)
    pyte.ByteStream(seen).feed(sent)
    lines = [line.rstrip() for line in seen.display]
    while lines and not lines[-1]:
        lines.pop()
    shown = (seen.buffer[row][column] for row in range(rows) for column in range(columns))
    return Shown(sent, lines, {(char.fg, char.bg) for char in shown}, exit_code)


def _read(leader: int) -> bytes:
    sent = b""
    ends = time.monotonic() + PATIENCE
    while time.monotonic() < ends:
        if not select.select([leader], [], [], ends - time.monotonic())[0]:
            break
        try:
            piece = os.read(leader, 1 << 16)
        except OSError as problem:
            if problem.errno != errno.EIO:
                raise
            return sent  # Linux says so at the end
        if not piece:
            return sent
        sent += piece
    raise AssertionError(f"it did not end: {sent[-1000:]!r}")
