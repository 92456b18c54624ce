"""A program that plays claude and records what reached it, and the world it is run in.

It is a shell script, because a shell leaves alone what CPython changes as it starts (signal
dispositions, LC_CTYPE), and it asks the kernel, not itself: Linux, for /proc.
"""

import ctypes
import json
import os
import re
import select
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

PATIENCE = 300.0
"""Seconds after which a process that should have ended, or said something, has hung."""

Text = str | bytes

_SCRIPT = """\
#!/bin/sh
# The shim learning its options: not a call of anybody's.
[ "$NSED_SHIM_DISABLE$*" = 1--help ] && exit 1
PATH=/usr/bin:/bin
ulimit -S -f unlimited
n=1
while [ -e {log}/$n ]; do n=$((n + 1)); done
record={log}/$n
mkdir "$record" || exit 99
while read -r line; do printf '%s\\n' "$line"; done </proc/$$/status >"$record/status"
cat /proc/$$/cmdline >"$record/cmdline"
cat /proc/$$/environ >"$record/environ"
(exec find /proc/$$/fd /proc/$$/cwd -type l -printf '%f %M %l\\0' >"$record/links")
{then}
"""
_KERNEL_FIELDS = ("Umask", "SigBlk", "SigIgn", "SigCgt", "Uid", "Gid", "Groups", "CapEff")


class Call:
    """What reached claude in one run."""

    def __init__(self, record: Path) -> None:
        # The kernel puts `/bin/sh` and the script's path in the place of argv[0].
        _, program, *self.args = _entries(record / "cmdline")
        self.program = Path(os.fsdecode(program))
        self.environment = _entries(record / "environ")
        status = [line.split(":", 1) for line in (record / "status").read_text().splitlines()]
        fields = {name: value.strip() for name, value in status}
        self.pid = int(fields["Pid"])
        self.kernel = {name: fields[name] for name in _KERNEL_FIELDS}
        links = dict(entry.split(b" ", 1) for entry in _entries(record / "links"))
        self.directory = Path(os.fsdecode(links.pop(b"cwd").split(b" ", 1)[1]))
        # One pipe is like another, so that two runs compare.
        self.descriptors = {int(n): re.sub(rb"^(\S+ pipe):.*", rb"\1", d) for n, d in links.items()}

    def variable(self, name: str) -> bytes | None:
        """The bytes of a variable, or None where it is unset."""
        prefix = name.encode() + b"="
        return next((e[len(prefix) :] for e in self.environment if e.startswith(prefix)), None)


class Recorder:
    """A program named `claude` in a directory; `then` is what it does after recording, in sh."""

    def __init__(self, directory: Path, then: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "claude"
        self._log = directory / "calls"
        self._log.mkdir()
        self.then(then)

    def then(self, script: str) -> None:
        write_program(self.path, _SCRIPT.format(log=shlex.quote(str(self._log)), then=script))

    def forget(self) -> None:
        """Forget the runs so far, also those that were killed while they recorded."""
        for record in self._log.iterdir():
            shutil.rmtree(record)

    @property
    def calls(self) -> list[Call]:
        """Every run so far, the first one first."""
        return [Call(r) for r in sorted(self._log.iterdir(), key=lambda record: int(record.name))]


class Run:
    """One finished process: what the caller saw."""

    def __init__(self, process: "subprocess.CompletedProcess[bytes]") -> None:
        self.exit_code = process.returncode
        self.stdout: bytes = process.stdout or b""
        self.stderr: bytes = process.stderr or b""
        self.lines = self.stderr.decode("utf-8", "backslashreplace").splitlines()

    @property
    def warning(self) -> str:
        """The one line on stderr, which is a warning of the shim's."""
        assert len(self.lines) == 1, self.lines
        assert self.lines[0].startswith("claude-shim: ")
        return self.lines[0]


class World:
    """A home, a working directory, a recorder that plays claude, and PATH with our launcher first.

    Nothing of the test's own environment gets in.
    """

    def __init__(self, root: Path, launcher: Path) -> None:
        self.root = root
        self.launcher = launcher
        self.home = root / "home"
        self.directory = root / "work"
        self.home.mkdir()
        self.directory.mkdir()
        self.claude = Recorder(root / "real")
        self.environment: dict[str, Text] = {"HOME": str(self.home)}
        self.path(launcher.parent, self.claude.path.parent)

    def path(self, *directories: Path | str) -> None:
        """Set PATH."""
        self.environment["PATH"] = os.pathsep.join(map(str, directories))

    def start(
        self,
        *args: Text,
        program: Path | None = None,
        env: Mapping[str, Text | None] | None = None,
        before_exec: Callable[[], None] | None = None,
        **options: Any,
    ) -> "subprocess.Popen[bytes]":
        """Start the launcher, or another program; a variable that is None is unset."""
        environment = {**self.environment, **(env or {})}
        settings = {
            "cwd": self.directory,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            **options,
        }
        return subprocess.Popen(
            [program or self.launcher, *args],
            env={name: value for name, value in environment.items() if value is not None},
            preexec_fn=before_exec,
            **settings,
        )

    def run(self, *args: Text, input: bytes | None = None, **how: Any) -> Run:  # noqa: A002
        """Run to the end, as `start` says."""
        if input is not None:
            how["stdin"] = subprocess.PIPE
        with self.start(*args, **how) as process:
            try:
                stdout, stderr = process.communicate(input, PATIENCE)
            except BaseException:
                process.kill()
                raise
        return Run(subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr))

    def call(self, *args: Text, **how: Any) -> Call:
        """Run, with claude's own exit code and not a word from the shim; what reached claude."""
        before = len(self.claude.calls)
        run = self.run(*args, **how)
        assert (run.exit_code, run.stderr) == (0, b"")
        (call,) = self.claude.calls[before:]
        return call

    def transcript(
        self, session_id: str, project: Path | None = None, messages: bool = True, age: float = 0
    ) -> Path:
        """Write a conversation as claude would, in this directory's project or another's."""
        name = "".join(
            c if c.isascii() and c.isalnum() else "-" for c in str(project or self.directory)
        )
        path = self.home / ".claude" / "projects" / name / f"{session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        line: dict[str, Any] = {"type": "queue-operation", "sessionId": session_id}
        lines = [line]
        if messages:
            prompt = {"role": "user", "content": "hi"}
            answer = {"role": "assistant", "content": "hello", "stop_reason": "end_turn"}
            lines = [
                {**line, "type": "user", "uuid": "a prompt", "message": prompt},
                {
                    **line,
                    "type": "assistant",
                    "uuid": "an answer",
                    "parentUuid": "a prompt",
                    "message": answer,
                },
            ]
        path.write_text("".join(json.dumps(it, separators=(",", ":")) + "\n" for it in lines))
        written = time.time() - age
        os.utime(path, (written, written))
        return path

    @property
    def store(self) -> Path:
        return self.home / ".nsed" / "sessions.json"

    @property
    def mappings(self) -> dict[str, dict[str, str]]:
        """The session id of each room and agent in the store."""
        document = json.loads(self.store.read_bytes().decode())
        return {
            room: {agent: entry["uuid"] for agent, entry in agents.items()}
            for room, agents in document.items()
        }

    def map(self, room: str, agent: str, session_id: str) -> None:
        """Put one mapping into a new store, in which housekeeping has been done."""
        self.store.parent.mkdir(mode=0o700, exist_ok=True)
        entry = {"uuid": session_id, "last_used": "2026-01-02T03:04:05.123456789Z"}
        self.store.write_text(json.dumps({room: {agent: entry}}, indent=2))
        self.store.with_name("housekeeping").touch()


def derived(room: str, agent: str = "claude") -> str:
    """The session id NSED derives for a room and agent."""
    name = f"nsed://agent/{agent}/{room}" if room else f"nsed://agent/{agent}"
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


def write_program(path: Path, text: str) -> Path:
    """Write an executable file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def read_line(stream: IO[bytes]) -> bytes:
    """The next line of a process's unbuffered output; fails where none comes."""
    line = b""
    while not line.endswith(b"\n"):
        assert select.select([stream], [], [], PATIENCE)[0], f"no whole line came, only {line!r}"
        piece = os.read(stream.fileno(), 1)
        assert piece, f"it ended after {line!r}"
        line += piece
    return line


def wait_until(holds: Callable[[], bool]) -> None:
    """Look again and again until a condition holds; fails where it never does."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it has not come to be"
        time.sleep(0.002)


def raw_exec(
    program: Path, args: Sequence[bytes], entries: Sequence[bytes], name: bytes | None = None
) -> Callable[[], None]:
    """For `before_exec`: become the program with an environment that Python would refuse.

    `name` is its argv[0], if that is not its path.
    """

    def block(strings: Sequence[bytes]) -> "ctypes.Array[ctypes.c_char_p]":
        return (ctypes.c_char_p * (len(strings) + 1))(*strings, None)

    libc, path = ctypes.CDLL(None), os.fsencode(program)
    argv, envp = block([path if name is None else name, *args]), block(entries)

    def become() -> None:
        libc.execve(path, argv, envp)
        os._exit(255)

    return become


def _entries(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\0")[:-1]
