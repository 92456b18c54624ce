"""`claude-shim` as a person runs it: in this process, where that shows all there is to see, or as
a process of its own."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pexpect
from click import formatting
from click.testing import CliRunner

import shim
from shim.base import messages
from shim.commands import __main__
from tests.support.recorder import PATIENCE, Run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from tests.support.recorder import Text, World

PROGRAM = "import sys; sys.argv[0] = 'claude-shim'; from shim.commands.__main__ import main; main()"
"""What the console script runs."""
PACKAGE = str(Path(shim.__file__).parent.parent)

_SIGNALS = (signal.SIGPIPE, signal.SIGTERM, signal.SIGHUP)


def ask(
    world: World,
    *args: str,
    input: bytes | None = None,  # noqa: A002
    env: Mapping[str, Text | None] | None = None,
) -> Run:
    """Run `claude-shim` in this process, in the world's directory and environment.

    A variable of `env` that is None is unset.
    """
    with _inside(world, env or {}), CliRunner().isolation() as (stdout, stderr, _):
        # As a process has it: click's own has no `peek`.
        sys.stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(input or b"")))
        sys.argv = ["claude-shim", *args]
        formatting.FORCED_WIDTH = None  # click's own is two columns wider than in a process
        try:
            __main__.main()
        except SystemExit as end:
            code = end.code or 0
        sys.stdout.flush()
        sys.stderr.flush()
        out, err = stdout.getvalue(), stderr.getvalue()
    assert isinstance(code, int), code
    return Run(subprocess.CompletedProcess(args, code, out, err))


def ask_process(world: World, *args: str, program: str = PROGRAM, **how: Any) -> Run:
    """Run `claude-shim` as a process of its own; `how` is as for `World.run`."""
    how["env"] = {"PYTHONPATH": PACKAGE, **how.get("env", {})}
    return world.run("-c", program, *args, program=Path(sys.executable), **how)


def printed(world: World, *args: str, **how: Any) -> str:
    """What a command that succeeds prints, with nothing on stderr."""
    done = ask(world, *args, **how)
    assert (done.exit_code, done.stderr) == (0, b"")
    return done.stdout.decode()


def refused(world: World, *args: str, exit_code: int = 1, **how: Any) -> str:
    """The one line that a command fails with."""
    done = ask(world, *args, **how)
    assert done.exit_code == exit_code
    return done.warning.removeprefix("claude-shim: ")


@contextlib.contextmanager
def terminal(world: World, *args: str) -> Iterator[pexpect.spawn[str]]:
    """The command on a terminal, as a process of its own."""
    env = {name: str(value) for name, value in world.environment.items()}
    child = pexpect.spawn(
        *(sys.executable, ["-c", PROGRAM, *args]),
        env=env | {"PYTHONPATH": PACKAGE, "TERM": "dumb"},
        cwd=str(world.directory),
        encoding="utf-8",
        timeout=PATIENCE,
        dimensions=(40, 200),
    )
    try:
        yield child
    finally:
        child.close(force=True)


def exit_code(child: pexpect.spawn[str]) -> int | None:
    """What a command on a terminal ends with."""
    child.expect(pexpect.EOF)
    child.close()
    code: int | None = child.exitstatus
    return code


@contextlib.contextmanager
def _inside(world: World, more: Mapping[str, Text | None]) -> Iterator[None]:
    """The world's directory and environment, and all as it was afterwards."""
    environment = {**world.environment, "PYTHONPATH": PACKAGE, **more}
    before = Path.cwd()
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    threshold = gc.get_threshold()
    with (
        mock.patch.dict(os.environb, clear=True),
        mock.patch.object(sys, "argv", sys.argv),
        # Where click looks for the program's name before it takes argv's.
        mock.patch.dict(sys.modules, __main__=types.ModuleType("__main__")),
        mock.patch.object(messages, "is_claudes_stderr", True),
    ):
        for name, value in environment.items():
            if value is not None:
                os.environb[os.fsencode(name)] = os.fsencode(value)
        os.chdir(world.directory)
        try:
            yield
        finally:
            os.chdir(before)
            gc.set_threshold(*threshold)
            for number, handler in handlers.items():
                signal.signal(number, handler)
