"""The real claude: the launcher finds it, and is asked which one it would become."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from shim.base.messages import Failure, warn

# Compiled with the package, by scripts/build_launcher.py.
LAUNCHER = Path(__file__).with_name("launcher")

EXIT_NO_CLAUDE = 127
NONE = (
    "no claude on PATH or in the usual places: install it with"
    " `npm install -g @anthropic-ai/claude-code`, or set NSED_CLAUDE_BIN"
)

# How a launcher is told from any other program, as launcher.c has it.
_MARK = b"# claude-shim launcher"
_MARK_WITHIN = 65536

# What the launcher puts in front of a warning.
_OURS = "claude-shim: "


@dataclass(frozen=True)
class Answer:
    """What the launcher says of the claudes there are."""

    claudes: list[str]
    """Their paths, the one to use first; as PATH has them, so relative where that is."""
    warnings: list[str]
    """What it warns of."""

    @property
    def first(self) -> str | None:
        """The one to use."""
        return self.claudes[0] if self.claudes else None


def ask() -> Answer:
    """Ask the launcher of this package which claudes there are. Raises Failure."""
    try:
        run = subprocess.run(
            ["claude-shim-which"],
            executable=built(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as problem:
        raise Failure(f"{LAUNCHER} cannot be run: {problem.strerror}") from problem
    lines = run.stderr.decode("utf-8", "replace").splitlines()
    claudes = [os.fsdecode(path) for path in run.stdout.split(b"\0")[:-1]]
    return Answer(claudes, [line.removeprefix(_OURS) for line in lines])


def find() -> str:
    """The claude to use, said with the launcher's warnings. Exits 127 where there is none."""
    answer = ask()
    for message in answer.warnings:
        warn(message)
    if answer.first is None:
        warn(NONE)
        sys.exit(EXIT_NO_CLAUDE)
    return answer.first


def built(program: Path = LAUNCHER) -> Path:
    """A program that was compiled with this package. Raises Failure where it is not there."""
    if not program.is_file():
        raise Failure(
            f"{program} is missing: install claude-shim again (in a checkout: scripts/setup)"
        )
    return program


def is_launcher(path: str | Path) -> bool:
    """Whether the file is a launcher of ours, by its content: copies and links count too."""
    try:
        # A FIFO of that name has nothing to say.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        return _MARK in os.read(file, _MARK_WITHIN)
    except OSError:
        return False
    finally:
        os.close(file)
