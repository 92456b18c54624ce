"""The set-up that the checks look at: paths and contents, each read once."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import shlex
import stat
import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import shim
from shim.base import files, stamps
from shim.base.messages import Failure
from shim.base.plain_text import command_line
from shim.checks.refused import Refused
from shim.claude import projects, refusals
from shim.install import launcher, real_claude, shells
from shim.install.trial import try_out
from shim.store import document, lock_holders, store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from shim.install.manifest import Line, Maker
    from shim.install.real_claude import Answer
    from shim.install.trial import Trial
    from shim.store.document import Document

    T = TypeVar("T")

# Seconds to wait for a writer of sessions.json to get done, and between two looks.
_PATIENCE = 5.0
_NAP = 0.01
# Conversations that are looked into.
_MOST_READ = 1000


@dataclass(frozen=True)
class Contents:
    """What sessions.json holds, or why it cannot be read."""

    is_there: bool
    mappings: Document = field(default_factory=dict)
    damage: str = ""
    """What is wrong with the document; `mappings` has nothing then."""
    obstacle: str = ""
    """Why it cannot be read at all."""
    is_locked: bool = False
    """Whether the obstacle is another process's lock."""

    @property
    def is_sound(self) -> bool:
        """Whether it could be read, or does not exist."""
        return not (self.damage or self.obstacle)

    def entries(self) -> Iterator[tuple[str, str, str, int]]:
        """Yield each room, agent, session id and time of last use, in nanoseconds."""
        for room, agents in self.mappings.items():
            for agent, entry in agents.items():
                used = stamps.nanoseconds(entry["last_used"]) or 0
                yield room, agent, str(entry["uuid"]), used


class Setup:
    """How the shim is set up here, for this user and this environment."""

    def __init__(self, bin_directory: Path | None = None) -> None:
        self._named = bin_directory

    @cached_property
    def store(self) -> Path | None:
        """The store's directory; None if only a temporary one is left."""
        where = store.lasting_directory()
        return Path(where) if where else None

    @cached_property
    def sessions(self) -> Path:
        """The path of sessions.json. Raises Failure if there is no directory for it."""
        if self.store is None:
            raise Failure("there is no directory for the store")
        return self.store / store.FILE_NAME

    @cached_property
    def bin_directory(self) -> Path | None:
        """Where the launcher is, or would be."""
        if self._named is not None:
            return self._named.absolute()
        on_path = [where for where in os.get_exec_path() if _is_launcher_in(where)]
        usual = self.store and (self.store / "bin").absolute()
        return Path(on_path[0]).absolute() if on_path else usual

    @cached_property
    def launcher(self) -> Path | None:
        """The launcher, or None."""
        where = self.bin_directory
        return where / launcher.NAME if where and _is_launcher_in(str(where)) else None

    @cached_property
    def maker(self) -> Maker | None:
        """Who made the launcher, where it says."""
        return launcher.maker(self.launcher.parent) if self.launcher else None

    @cached_property
    def looked_at(self) -> list[Line]:
        """The files that the launcher looks at before it trusts its Python to start."""
        return launcher.lines(self.launcher.parent) if self.launcher else []

    @property
    def is_of_this_package(self) -> bool:
        """Whether the launcher belongs to this package."""
        own = Path(shim.__file__).resolve().parent.parent
        return self.maker is not None and Path(self.maker.package) == own

    @cached_property
    def trial(self) -> Trial | None:
        """The outcome of running the real claude, if there is one."""
        return try_out(self.real) if self.real is not None else None

    @cached_property
    def real(self) -> Path | None:
        """The real claude."""
        return Path(self.answer.first) if self.answer.first else None

    @cached_property
    def answer(self) -> Answer:
        """The claudes that the launcher finds. Raises Failure."""
        return real_claude.ask()

    @cached_property
    def stale(self) -> list[Path]:
        """The files that an install would change."""
        return launcher.stale(self.launcher.parent) if self.launcher else []

    @cached_property
    def contents(self) -> Contents:
        """What sessions.json holds now."""
        return read(self.sessions)

    @cached_property
    def refused(self) -> list[Refused]:
        """The rooms that the API refuses, of those used last."""
        if self.store is None:
            return []
        entries = sorted(self.contents.entries(), key=lambda entry: -entry[3])[:_MOST_READ]
        paths = projects.transcript_paths({entry[2] for entry in entries})
        found = []
        for room, agent, session_id, _ in entries:
            for path in paths.get(session_id, [])[:1]:
                with contextlib.suppress(OSError):  # it has just been deleted, or may not be read
                    if error := refusals.error(path):
                        found.append(Refused(room, agent, session_id, error))
        return found

    @property
    def install(self) -> str:
        """The command that installs the launcher, again or for the first time."""
        usual = self.store and (self.store / "bin").absolute()
        where = self.bin_directory
        return command_line("install") + (
            f" --bin-dir {shlex.quote(str(where))}" if where != usual else ""
        )

    @property
    def first_on_path(self) -> str:
        """How to have the launcher first on PATH."""
        own = shells.own()
        usual = self.store and (self.store / "bin").absolute()
        where = self.bin_directory if self.bin_directory != usual else None
        if own is None:
            how = command_line("init")
            return f"put {self.bin_directory} first on PATH: see `{how} --help`"
        line = shells.init_line(own, where)
        return f"add `{line}` as the last line of {shells.start_up_file(own)}, open a new shell"


def quietly(function: Callable[[], T]) -> T:
    """Call a function without its warnings: the environment has a check of its own."""
    with contextlib.redirect_stderr(io.StringIO()):
        return function()


def read(path: Path) -> Contents:
    """The contents of a document of mappings, read without changing or locking it."""
    try:
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Contents(is_there=os.path.lexists(path), obstacle=_dangling(path))
    except OSError as refusal:
        return Contents(is_there=True, obstacle=f"it cannot be read: {refusal.strerror}")
    try:
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            return Contents(is_there=True, obstacle="it is no regular file")
        return _parsed(file, path)
    finally:
        os.close(file)


def _parsed(file: int, path: Path) -> Contents:
    contents = _parsed_as_is(file)
    # What looks damaged may be half written.
    if contents.damage and not _waits_for_writers(file):
        who = lock_holders.named_holders(str(path))
        obstacle = f"it stays locked by another process{who}"
        return Contents(is_there=True, obstacle=obstacle, is_locked=True)
    return _parsed_as_is(file) if contents.damage else contents


def _parsed_as_is(file: int) -> Contents:
    data = files.content(file)
    try:
        return Contents(is_there=True, mappings=document.parse(data) if data.strip() else {})
    except document.InvalidDocument as damage:
        return Contents(is_there=True, damage=str(damage))


def _waits_for_writers(file: int) -> bool:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_NAP)
        else:
            return True
    return False


def _dangling(path: Path) -> str:
    return "it is a link to nothing" if path.is_symlink() else ""


def _is_launcher_in(directory: str) -> bool:
    path = os.path.join(directory, launcher.NAME)
    return os.path.isfile(path) and real_claude.is_launcher(path)
