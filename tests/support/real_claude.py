"""Real Claude Code as a user runs it, in a world of its own: home, directories, PATH and model."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import psutil
import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from types import TracebackType

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 300.0
"""Seconds to wait for anything that should happen: it takes one or two, and twenty times that
where other work is in its way."""

_API_KEY = "sk-of-the-stand-in-messages-api"
VERSIONS = ("2.1.197", "2.1.330", "2.1.332")
"""The versions of Claude Code that scripts/setup fetches: an old one, and the newest there are."""
VERSION = "2.1.330"
"""The one that tests run where the version makes no difference."""
STREAM_JSON = ("--input-format", "stream-json", "--output-format", "stream-json", "--verbose")

# What claude draws between two words: moves of the cursor and changes of colour.
_GAP = r"(?:\x1b\[[0-9;?]*[A-Za-z]|\s)+"
_PASTE_START, _PASTE_END = "\x1b[200~", "\x1b[201~"
_KILL_LINE = "\x15"
# What claude adds in the user's name: after a turn with no answer, and of /fork.
_BY_CLAUDE = ("Continue from where you left off.", "The fork runs as its own separate session")
# Seconds within which a pasted line mostly shows; where it takes longer, it is pasted anew.
_SHOWS_WITHIN = 0.5
ENTER, ESCAPE, INTERRUPT, LEFT = "\r", "\x1b", "\x03", "\x1b[D"

Json = dict[str, Any]


def binary(version: str = VERSION) -> Path:
    """A real claude that scripts/setup fetched. Raises FileNotFoundError where it is missing."""
    path = ROOT / ".cache" / "claude" / version / "claude"
    if not os.access(path, os.X_OK):
        raise FileNotFoundError(f"there is no Claude Code {version} at {path}: run scripts/setup")
    return path


def environment(home: Path, api_url: str, *path: Path, version: str = VERSION) -> dict[str, str]:
    """The whole environment in which the real claude keeps to this home and talks to this API.

    `path` goes first on PATH. Nothing is inherited. All traffic stays on loopback: an interactive
    claude would otherwise fetch a plugin marketplace from GitHub.
    """
    return {
        "HOME": str(home),
        "PATH": os.pathsep.join([*map(str, path), str(binary(version).parent), "/usr/bin", "/bin"]),
        "TERM": "xterm-256color",
        "LANG": "C.UTF-8",
        "ANTHROPIC_BASE_URL": api_url,
        "ANTHROPIC_API_KEY": _API_KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "CLAUDE_CODE_DISABLE_OFFICIAL_MARKETPLACE_AUTOINSTALL": "1",
        "CLAUDE_CODE_MAX_RETRIES": "0",
        "DISABLE_AUTOUPDATER": "1",
        "IS_SANDBOX": "1",  # lets root use it
    }


def settle_in(home: Path, *trusted: Path) -> None:
    """Make a home where claude on a terminal starts at its prompt, in and below these directories.

    Without these keys it asks for a theme, for leave to use the API key, and for trust.
    """
    home.mkdir(parents=True, exist_ok=True)
    settings = {
        "hasCompletedOnboarding": True,
        "customApiKeyResponses": {"approved": [_API_KEY[-20:]], "rejected": []},
        "projects": {str(directory): {"hasTrustDialogAccepted": True} for directory in trusted},
    }
    (home / ".claude.json").write_text(json.dumps(settings))


def knows(answer: str) -> list[str]:
    """What was said before, to a claude that answers so: what claude adds of itself aside."""
    before = answer.removesuffix("\n").partition(" | before: ")[2]
    return [turn for turn in before.split(" ; ") if turn and not turn.startswith(_BY_CLAUDE)]


def wait_until(condition: Callable[[], object], what: str, timeout: float = TIMEOUT) -> None:
    """Wait until the condition holds. Raises TimeoutError after `timeout` seconds."""
    end = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {timeout} s: {what}")
        time.sleep(0.01)


class World:
    """A machine with the launcher, the real claude behind it and a Messages API, and no past.

    `root` is an empty directory. Leaving the `with` kills whatever still runs.
    """

    def __init__(self, root: Path, api_url: str, launcher: Path, version: str = VERSION) -> None:
        self._root = root
        self.version = version
        self.home = root / "home"
        self.work = self.directory(root / "work")
        self.launcher = launcher
        self._environment = environment(self.home, api_url, launcher.parent, version=version)
        self._processes: list[subprocess.Popen[str]] = []
        self._terminals: list[Terminal] = []
        self._screens: list[Screen] = []
        settle_in(self.home, root)

    def __enter__(self) -> World:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._processes:
            kill(process)
        for terminal in self._terminals:
            terminal.kill()
        for screen in self._screens:
            screen.kill()
        if self._screens:
            self.end_background()

    @property
    def store(self) -> Path:
        return self.home / ".nsed"

    @staticmethod
    def directory(path: Path) -> Path:
        """Make a directory to work in, and return it as claude sees it."""
        path.mkdir(parents=True, exist_ok=True)
        return path.resolve()

    def environment(
        self, room: str = "", agent: str = "", more: Mapping[str, str] | None = None
    ) -> dict[str, str]:
        """The environment of a call from this room and agent; empty means unset."""
        names = {"NSED_ROOM_ID": room, "NSED_AGENT_NAME": agent}
        given = {name: value for name, value in names.items() if value}
        return {**self._environment, **given, **(more or {})}

    def start(
        self,
        *args: str,
        room: str = "",
        agent: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        program: Path | None = None,
        stdin: int | None = subprocess.DEVNULL,
        stderr: Any = subprocess.PIPE,
    ) -> subprocess.Popen[str]:
        """Start claude, through the launcher or as another `program`; `env` is added to the rest.

        It leads a process group of its own.
        """
        process = subprocess.Popen(
            [program or self.launcher, *args],
            env=self.environment(room, agent, env),
            cwd=cwd or self.work,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            bufsize=1,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def run(
        self, *args: str, stdin_text: str | None = None, **where: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run claude to its end, with a text on its stdin or nothing; `where` is as for `start`."""
        where.setdefault("stdin", subprocess.DEVNULL if stdin_text is None else subprocess.PIPE)
        process = self.start(*args, **where)
        stdout, stderr = process.communicate(stdin_text, TIMEOUT)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    def ask(self, prompt: str, *args: str, **where: Any) -> str:
        """What claude answers to `claude -p PROMPT` and prints, nothing being on its stderr."""
        done = self.run(*args, "-p", prompt, **where)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout.removesuffix("\n")

    def claude_shim(self, *args: str, env: Mapping[str, str] | None = None) -> str:
        """What `claude-shim ARGS…` prints, nothing being on its stderr."""
        program = "from shim.commands.__main__ import main; main()"
        env = {"PYTHONPATH": str(ROOT), **(env or {})}
        done = self.run("-c", program, *args, program=Path(sys.executable), env=env)
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    def stream(self, *args: str, **where: Any) -> Stream:
        """Start a claude that keeps running and speaks stream-json both ways."""
        errors = self._root / f"stderr-{len(self._processes)}"
        with errors.open("w") as file:
            process = self.start(*STREAM_JSON, *args, stdin=subprocess.PIPE, stderr=file, **where)
        return Stream(process, errors)

    def terminal(
        self,
        *args: str,
        room: str = "",
        agent: str = "",
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> Terminal:
        """Start an interactive claude on a terminal, and wait for its prompt."""
        environment = self.environment(room, agent, env)
        terminal = Terminal(self.launcher, args, environment, cwd or self.work)
        self._terminals.append(terminal)
        terminal.wait_for("❯")
        return terminal

    def screen(
        self,
        *args: str,
        room: str = "",
        env: Mapping[str, str] | None = None,
        program: Path | None = None,
    ) -> Screen:
        """Start an interactive claude on a terminal whose screen is read, and wait for its prompt.

        `env` is added to the rest.
        """
        screen = Screen(program or self.launcher, args, self.environment(room, more=env), self.work)
        self._screens.append(screen)
        screen.wait_for("❯")
        return screen

    def registered(self) -> list[Json]:
        """What claude's registry says of those that run or were killed."""
        return _read_all((self.home / ".claude" / "sessions").glob("*.json"))

    def jobs(self) -> list[Json]:
        """What claude's jobs in the background say of themselves."""
        return _read_all((self.home / ".claude" / "jobs").glob("*/state.json"))

    def end_background(self) -> None:
        """End what runs in the background: claude's service outlives those who started it."""
        while mine := self._own_processes():
            for process in mine:
                process.kill()
            psutil.wait_procs(mine, TIMEOUT)

    def _own_processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get("HOME") == str(self.home):
                    found.append(process)
        return found

    def transcripts(self, session_id: str) -> list[Path]:
        """Where claude keeps this conversation, in whichever projects."""
        return sorted((self.home / ".claude" / "projects").glob(f"*/{session_id}.jsonl"))

    def transcripts_of(self, room: str, agent: str = "claude") -> list[Path]:
        """Where claude keeps the conversation of a room and agent, which has a mapping."""
        session_id = self.mapping(room, agent)
        assert session_id, f"no mapping for {room!r}, {agent!r}"
        return self.transcripts(session_id)

    def mapping(self, room: str, agent: str = "claude") -> str | None:
        """The session id that sessions.json has for a room and agent."""
        try:
            with (self.store / "sessions.json").open() as file:
                fcntl.flock(file, fcntl.LOCK_SH)  # else it may be half written
                rooms = json.load(file)
        except FileNotFoundError:
            return None
        entry = rooms.get(room, {}).get(agent)
        return entry and str(entry["uuid"])


class Stream:
    """A claude that reads and writes stream-json; `messages` is all that it has written so far."""

    def __init__(self, process: subprocess.Popen[str], errors: Path) -> None:
        self.process = process
        self.messages: list[Json] = []
        self._errors = errors
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, args=(process.stdout,), daemon=True).start()

    def send(self, text: str) -> None:
        """Say something as the user."""
        content = [{"type": "text", "text": text}]
        line = {"type": "user", "message": {"role": "user", "content": content}}
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")

    def next_result(self, timeout: float = TIMEOUT) -> Json:
        """The message that ends the turn. Raises TimeoutError after `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0, end - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no result within {timeout} s: {self.messages}") from None
            assert line is not None, f"claude ended: {self.stderr}"
            message: Json = json.loads(line)
            self.messages.append(message)
            if message["type"] == "result":
                return message

    def ask(self, text: str) -> str:
        """What claude answers."""
        self.send(text)
        return str(self.next_result()["result"])

    def close(self) -> int:
        """End its input, and return the exit code it then ends with."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(TIMEOUT)

    def kill(self) -> None:
        kill(self.process)

    @property
    def stderr(self) -> str:
        return self._errors.read_text()

    def _read(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._lines.put(line)
        self._lines.put(None)


class Terminal:
    """An interactive claude on a pty."""

    def __init__(self, program: Path, args: Iterable[str], env: dict[str, str], cwd: Path) -> None:
        self._child = pexpect.spawn(
            str(program),
            list(args),
            env=env,
            cwd=str(cwd),
            dimensions=(40, 120),
            encoding="utf-8",
            timeout=TIMEOUT,
        )

    def wait_for(self, text: str) -> None:
        """Wait until these words are drawn. Raises pexpect.TIMEOUT with the last of the screen."""
        self._child.expect(_GAP.join(map(re.escape, text.split())))

    def say(self, text: str) -> None:
        """Paste a line, and press Enter."""
        self._child.send(f"{_PASTE_START}{text}{_PASTE_END}")
        self.wait_for(text)
        self._child.send(ENTER)

    def exit(self) -> int | None:
        """Leave with /exit; the exit code."""
        self.say("/exit")
        self._child.expect(pexpect.EOF)
        self._child.close()
        exit_code: int | None = self._child.exitstatus
        return exit_code

    def kill(self) -> None:
        self._child.close(force=True)


class Screen:
    """An interactive claude on a terminal of which the screen is known, and not only what is sent.

    It is read as long as something is waited for.
    """

    def __init__(self, program: Path, args: Iterable[str], env: dict[str, str], cwd: Path) -> None:
        rows, columns = 40, 120
        self._child = pexpect.spawn(
            *(str(program), list(args)),
            env=env,
            cwd=str(cwd),
            dimensions=(rows, columns),
            encoding="utf-8",
        )
        self._child.delaybeforesend = None
        self._screen = pyte.Screen(columns, rows)
        self._feed = pyte.Stream(self._screen)
        self._has_ended = False

    @property
    def pid(self) -> int:
        return int(self._child.pid or 0)

    @property
    def text(self) -> str:
        """What the screen shows."""
        return "\n".join(line.rstrip() for line in self._screen.display if line.strip())

    def wait_until(self, condition: Callable[[], object], what: str) -> None:
        """Read what claude draws until the condition holds. Raises TimeoutError."""
        end = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {TIMEOUT} s: {what}; the screen:\n{self.text}")
            self._read()

    def wait_for(self, text: str) -> None:
        """Wait until the screen shows this."""
        self.wait_until(lambda: text in self.text, f"{text!r} on the screen")

    def press(self, keys: str) -> None:
        """Send keys."""
        self._child.send(keys)

    def say(self, text: str) -> None:
        """Paste a line, and press Enter.

        It is pasted again where it does not show: what is sent while claude goes from one view to
        another, it drops.
        """
        end = time.monotonic() + TIMEOUT
        while text not in self._being_typed():
            if time.monotonic() > end:
                raise TimeoutError(f"{text!r} cannot be said; the screen:\n{self.text}")
            self.press(f"{_KILL_LINE}{_PASTE_START}{text}{_PASTE_END}")
            self._read_for(_SHOWS_WITHIN)
        self.press(ENTER)

    def _being_typed(self) -> list[str]:
        """The lines in the box of the prompt; where that is not drawn whole, the last ones."""
        lines = [line.strip("❯ \xa0") for line in self.text.splitlines()]
        edges = [at for at, line in enumerate(lines) if line.startswith("────")]
        return lines[edges[-2] : edges[-1]] if len(edges) > 1 else lines[-3:]

    def press_until(self, keys: str, condition: Callable[[], object], what: str) -> None:
        """Send keys until the condition holds: claude drops some while it draws another view."""
        end = time.monotonic() + TIMEOUT
        while not condition():
            if time.monotonic() > end:
                raise TimeoutError(f"not within {TIMEOUT} s: {what}; the screen:\n{self.text}")
            self.press(keys)
            self._read_for(_SHOWS_WITHIN)

    def ask(self, text: str) -> None:
        """Say something, and wait until it is answered."""
        self.say(text)
        self.wait_for(f"heard: {text}")

    def quit(self) -> None:
        """Leave with Ctrl-C, twice where claude hears both."""
        self.press_until(INTERRUPT, lambda: self._has_ended, "the end of claude")
        self._child.close()

    def kill(self) -> None:
        if not self._child.closed:
            self._child.kill(signal.SIGKILL)
            self._child.wait()
            self._child.close()

    def _read_for(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self._has_ended:
            self._read()

    def _read(self) -> None:
        try:
            self._feed.feed(self._child.read_nonblocking(1 << 16, timeout=0.05))
        except pexpect.TIMEOUT:
            return
        except pexpect.EOF:
            self._has_ended = True


def shows_list(screen: Screen) -> bool:
    """Whether a screen shows claude's list of agents."""
    marks = r"\d (awaiting input|working|completed)|enter to open|New sessions:"
    return re.search(marks, screen.text) is not None


def _read_all(paths: Iterable[Path]) -> list[Json]:
    found = []
    for path in paths:
        try:
            found.append(json.loads(path.read_text()))
        except (FileNotFoundError, ValueError):  # it goes, or is half written
            continue
    return found


def kill(process: subprocess.Popen[str]) -> None:
    """Kill a process and what it has started, and close what leads to it."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait(TIMEOUT)
    for file in (process.stdin, process.stdout, process.stderr):
        if file is not None:
            file.close()
