"""Parameter types of subcommands: rooms and agents, with completion, and lengths of time."""

from __future__ import annotations

import contextlib
import io
import os
import re
import stat
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shim.base.messages import Failure
from shim.base.session_key import SessionKey
from shim.store import document, store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from click.shell_completion import CompletionItem

    from shim.store.document import Document

_SECONDS = {
    "s": 1,
    "min": 60,
    "h": 3600,
    "d": 86_400,
    "w": 604_800,
    "mo": 30 * 86_400,
    "y": 365 * 86_400,
}
_AGE = re.compile(
    r"(\d{1,9}(?:\.\d{1,9})?) ?(?:(s)(?:ec(?:ond)?s?)?|(min)(?:ute)?s?|(h)(?:ours?)?"
    r"|(d)(?:ays?)?|(w)(?:eeks?)?|(mo)(?:n(?:th)?s?)?|(y)(?:(?:ea)?rs?)?|(m))",
    re.IGNORECASE | re.ASCII,
)


class _Name(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.2 or so only
    """A room or agent, decoded as the store decodes it, whatever the locale."""

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return SessionKey(os.fsencode(value), b"").room


class _RoomName(_Name):
    name = "room"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return _completions(_mappings(), incomplete)


class _AgentName(_Name):
    name = "agent"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        mappings = _mappings()
        room = ctx.params.get("room")
        if room is not None:
            return _completions(mappings.get(room, {}), incomplete)
        agents = dict.fromkeys(agent for entries in mappings.values() for agent in entries)
        return _completions(agents, incomplete)


class Age(float):
    """A length of time in seconds, and how it was given."""

    given: str


class _AgeParam(click.ParamType):  # type: ignore[type-arg]
    """A length of time, given as `30d`, `12h` or `90 days`; a month has 30, a year 365."""

    name = "age"

    def convert(
        self, value: str | Age, param: click.Parameter | None, ctx: click.Context | None
    ) -> Age:
        if isinstance(value, Age):
            return value
        match = _AGE.fullmatch(value.strip())
        if match is None:
            self.fail(f"{value!r} is no length of time, such as 30d, 12h or '2 weeks'.", param, ctx)
        unit = next(filter(None, match.groups()[1:])).lower()
        if unit == "m":
            minutes, months = f"{match[1]}min", f"{match[1]}mo"
            self.fail(f"is {value!r} {minutes}, minutes, or {months}, months?", param, ctx)
        age = Age(float(match[1]) * _SECONDS[unit])
        age.given = value.strip()
        return age


class _WhenParam(click.ParamType):  # type: ignore[type-arg]
    """A time: how long ago (`2w`), or a local date or time (`2026-11-30`, `2026-11-30 12:00`)."""

    name = "when"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return datetime.fromisoformat(value.strip()).timestamp()
        except (ValueError, OverflowError):
            pass
        if _AGE.fullmatch(value.strip()) is None:
            self.fail(
                f"{value!r} is no time, such as 2w, '3 days', 2026-11-30 or '2026-11-30 12:00'.",
                param,
                ctx,
            )
        return time.time() - AGE.convert(value, param, ctx)


# Of a call with a room and without an agent.
DEFAULT_AGENT = "claude"
ROOM = _RoomName()
AGENT = _AgentName()
AGE = _AgeParam()
WHEN = _WhenParam()


def _completions(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    # A name with a line end would be several to the shell, and one with a dash an option: click
    # asks with a dash only where no option can be meant.
    return [
        CompletionItem(name)
        for name in names
        if name.startswith(incomplete)
        and name.isprintable()
        and name
        and (incomplete or not name.startswith("-"))
    ]


def _mappings() -> Document:
    """The mappings in the store's file, read without locks, repairs or warnings."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            path = Path(store.directory(make=False), store.FILE_NAME)
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
            # A FIFO or a device may have no end.
            is_regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            return document.parse(file.read()) if is_regular else {}
    except (Failure, document.InvalidDocument, OSError):
        return {}
