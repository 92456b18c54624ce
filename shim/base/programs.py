"""Running another program for its output, within bounds of time and size.

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

# More bytes of output than any help, version or warning has.
_MOST = 1 << 20
# The capacity of a pipe.
_CHUNK = 1 << 16
# Seconds between two checks whether the process has ended, where its output stays open.
_NAP = 0.02


@dataclass(frozen=True)
class Completed:
    """The result of a program that ended by itself."""

    exit_code: int
    """Negative if a signal ended it."""
    output: str
    errors: str


class Overrun(Failure):
    """The program was killed: it did not end, or did not stop printing; the message says which."""


def run(
    command: Sequence[str | Path],
    environ: Mapping[str, str],
    timeout: float,
    directory: str | None = None,
    stdin: bytes = b"",
) -> Completed:
    """Run a program to its end, for at most `timeout` seconds, in a session of its own.

    The end of the process counts, not that of its output, which a child that it leaves behind may
    hold open for ever. `stdin` may be as long as a pipe takes, 4096 bytes. Raises OSError where it
    cannot be run, and Overrun where it was killed together with all that it started.
    """
    deadline = time.monotonic() + timeout
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
                process.stdin.write(stdin)
            read = _read(process, (process.stdout, process.stderr), deadline)
            exit_code = process.wait(max(deadline - time.monotonic(), 0))
        except subprocess.TimeoutExpired:
            raise Overrun(f"it does not end within {timeout:g} s") from None
        finally:
            _end(process)
    return Completed(exit_code, *(bytes(each).decode("utf-8", "replace") for each in read))


def _read(
    process: subprocess.Popen[bytes], streams: Sequence[IO[bytes]], deadline: float
) -> list[bytearray]:
    """Its output, up to the end of the process or of the output. Raises TimeoutExpired, Overrun."""
    read = [bytearray() for _ in streams]
    with DefaultSelector() as selector:
        for stream, into in zip(streams, read, strict=True):
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, EVENT_READ, into)
        while selector.get_map():
            # Before the pipes are read: what it printed before its end is in them then.
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
    """Kill it and what it started, unless it has ended: then what it started may live on."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
