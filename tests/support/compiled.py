"""The launcher, and a program that plays claude, compiled; and what stands beside the launcher."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.support.recorder import _entries as entries_of

ROOT = Path(__file__).resolve().parent.parent.parent
LAUNCHER = ROOT / "shim/install/launcher.c"
HOOK = ROOT / "shim/install/follow.c"
RECORDER = ROOT / "tests/support/recorder.c"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic")
SANITIZED = ("-g", "-O1", "-fno-sanitize-recover=all")
SANITIZERS = ("-fsanitize=address,undefined", "-fsanitize=undefined")

# What the kernel keeps of a process across an exec, but for its number.
_KEPT = "Umask|Uid|Gid|Groups|SigPnd|ShdPnd|SigBlk|SigIgn|SigCgt|Cap|NoNewPrivs|Cpus_allowed"

BY_PYTHON = b"--by-python"
"""What the stand-in for our package puts in front of claude's arguments."""

PROGRAM = """\
import posix, sys
if sys.argv[1:] == ["ready?"]:
    posix._exit(86)
words = [word.encode("utf-8", "surrogateescape") for word in sys.argv[1:]]
launcher, signals, lc_ctype, claude, name, *args = words
{problem}
posix.execv(claude, [name, {by_python!r}, *args])
"""
EMERGENCY = 'posix.execv(launcher, [b"claude-shim-emergency", {!r}, *words[1:]])'


def compiled(source: Path, program: Path, *options: str) -> Path | None:
    """Compile without a warning, or None where no compiler can with these options."""
    named = shlex.split(os.environ.get("CC", ""))
    compilers = [[name] for name in ("cc", "gcc", "clang") if shutil.which(name)]
    for compiler in [*([named] if named else []), *compilers]:
        command = [*compiler, *STRICT, *options, "-o", str(program), str(source)]
        run = subprocess.run(command, capture_output=True, text=True)
        if run.returncode == 0:
            return program
        assert options, run.stderr
    return None


class Call:
    """What reached claude in one run, byte for byte and as the kernel says."""

    def __init__(self, record: Path) -> None:
        self.argv = entries_of(record / "cmdline")
        self.environment = entries_of(record / "environ")
        self.limits = (record / "limits").read_text()
        status = [line.split(":", 1) for line in (record / "status").read_text().splitlines()]
        self.kernel = {name: value for name, value in status if re.match(_KEPT, name)}
        links = dict(entry.split(b" ", 1) for entry in entries_of(record / "links"))
        self.directory = links.pop(b"cwd")
        # One pipe is like another, so that two runs compare.
        self.descriptors = {n: re.sub(rb"^(pipe|socket):.*", rb"\1", d) for n, d in links.items()}


class CompiledRecorder:
    """A compiled program named `claude` in a directory."""

    exit_code = 42

    def __init__(self, directory: Path, program: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "claude"
        shutil.copy(program, self.path)
        self._log = directory / "calls"
        self._log.mkdir()

    def calls(self) -> list[Call]:
        """The runs since the last look."""
        calls = [Call(record) for record in self._log.iterdir()]
        self.forget()
        return calls

    def forget(self) -> None:
        """Forget the runs so far, also those that were killed while they recorded."""
        for record in self._log.iterdir():
            shutil.rmtree(record)


def write_installation(
    directory: Path,
    python: Path | str = sys.executable,
    program: str = "",
    files: Sequence[Path | str] = (),
) -> Path:
    """Write what stands beside a launcher, as `claude-shim install` does."""
    script = directory / ".claude-shim-program.py"
    script.write_text(PROGRAM.format(problem=program, by_python=BY_PYTHON))
    lines = ["claude-shim 1", line_of("python", python), line_of("program", script)]
    lines += [line_of("file", file) for file in files]
    path = directory / ".claude-shim"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


def line_of(key: str, file: Path | str) -> str:
    """A line that says how a file is now."""
    status = os.stat(file)
    return f"{key} {status.st_size} {int(status.st_mtime)} {file}"


def distrust_python(directory: Path) -> None:
    """Have a launcher try its Python out, because a file is not as it was."""
    with (directory / ".claude-shim").open("a") as file:
        file.write("file 0 0 /\n")
