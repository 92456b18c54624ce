"""Running another program for what it prints: bounded in time and bytes, whatever it leaves behind.

It is imported late: `subprocess` takes longer to import than a call may.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from typing import IO, TYPE_CHECKING

from shim.base.messages import Failure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# Bytes of output, and no help, version or warning has as many.
_MOST = 1 << 20
# As much as a pipe holds.
_CHUNK = 1 << 16
# Seconds between two looks whether the process is there, where its output stays open.
_NAP = 0.02


@dataclass(frozen=True)
class Completed:
    """What came of a program that has ended by itself."""

    exit_code: int
    """Negative where a signal ended it."""
    output: str
    errors: str


class Overrun(Failure):
    """The program was ended, because it would not end or stop printing; the message says which."""


def run(
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    patience: float,
    directory: str | None = None,
    said: bytes = b"",
) -> Completed:
    """Run a program to its end, for at most `patience` seconds, in a session of its own.

    The end of the process counts and not that of its output, which a child that it leaves behind
    may hold open for ever. `said` is what it reads: no more than a pipe takes (4096 bytes). Raises
    OSError where it cannot be run, and Endless where it was ended with all it started.
    """
    deadline = time.monotonic() + patience
    process = subprocess.Popen(
        command,
        env=environ,
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        try:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(said)
            read = _read(process, (process.stdout, process.stderr), deadline)
            exit_code = process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise Overrun(f"it does not end within {patience:g} s") from None
        finally:
            _end(process)
    return Completed(exit_code, *(bytes(each).decode("utf-8", "replace") for each in read))


def _read(
    process: subprocess.Popen[bytes], streams: Sequence[IO[bytes]], deadline: float
) -> list[bytearray]:
    """What it prints until its end, or that of its output. Raises TimeoutExpired, Endless."""
    read = [bytearray() for _ in streams]
    with DefaultSelector() as selector:
        for stream, into in zip(streams, read, strict=True):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, EVENT_READ, into)
        while selector.get_map():
            # Asked first: what it had printed before its end is in the pipes then.
            has_ended = process.poll() is not None
            for key, _ in selector.select(0 if has_ended else _NAP):
                piece = os.read(key.fd, _CHUNK)
                key.data.extend(piece)
                if not piece:
                    selector.unregister(key.fileobj)
            if sum(map(len, read)) > _MOST:
                raise Overrun(f"it prints more than {_MOST >> 20} MiB")
            if has_ended:
                break
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(process.args, 0)
    return read


def _end(process: subprocess.Popen[bytes]) -> None:
    """End it and what it started, unless it has ended: then that may live on."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
