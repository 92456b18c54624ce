"""How subcommands print names, ages, sizes, colours and JSON."""

from __future__ import annotations

import json
import sys
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import click

from shim.base import environment
from shim.base.plain_text import printable, visible_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import TypeVar

    T = TypeVar("T")

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")

# From so many steps on, a progress bar is shown.
_MANY = 500
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_AGES = (
    (_MINUTE, 1, "s"),
    (_HOUR, _MINUTE, "min"),
    (2 * _DAY, _HOUR, "h"),
    (60 * _DAY, _DAY, "days"),
    (730 * _DAY, 30.44 * _DAY, "months"),
)
_YEAR = 365.25 * _DAY


def show_json(value: Any, in_a_line: bool = False) -> None:
    """Print a value as JSON; invisible characters, and those stdout cannot encode, are escaped."""
    text = visible_json(_json(value, False, in_a_line))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = _json(value, True, in_a_line)
    click.echo(text)


def _json(value: Any, ensure_ascii: bool, in_a_line: bool) -> str:
    if in_a_line:
        return json.dumps(value, ensure_ascii=ensure_ascii)
    if isinstance(value, list):
        # `indent` would take five times as long: the library implements it in Python.
        return json.dumps(value, separators=(",\n  ", ": "), ensure_ascii=ensure_ascii)
    return json.dumps(value, indent=2, ensure_ascii=ensure_ascii)


def counted(number: int, what: str) -> str:
    """So many of something: `1 mapping`, `2 mappings`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


@contextmanager
def progress(steps: Iterable[T], count: int, label: str) -> Iterator[Iterable[T]]:
    """Steps that show a progress bar on stderr, if that is a terminal and there are many."""
    if count < _MANY or not sys.stderr.isatty():
        yield steps
        return
    with click.progressbar(steps, count, label=label, file=sys.stderr) as shown:
        yield shown


@contextmanager
def slow_progress(total: int, label: str) -> Iterator[Callable[[int], None]]:
    """Take how much was done; after a second a terminal's stderr shows a progress bar."""
    began = time.monotonic()
    done = 0
    with ExitStack() as stack:
        bar: Any = None

        def advance(count: int) -> None:
            nonlocal bar, done
            done += count
            if bar is not None:
                bar.update(count)
            elif sys.stderr.isatty() and time.monotonic() - began > 1:
                shown = click.progressbar(length=total, label=label, file=sys.stderr)
                bar = stack.enter_context(shown)
                bar.update(done)

        yield advance


def name(text: str) -> str:
    """A room or agent as one line, in quotes if it is empty or begins or ends with a space."""
    shown = printable(text)
    return shown if shown and shown == shown.strip() else f'"{shown}"'


def age(seconds: float) -> str:
    """How long ago something was: `3 min ago`."""
    return f"{span(seconds)} ago" if seconds >= 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """A length of time: `3 min`."""
    for limit, unit, unit_name in _AGES:
        if seconds < limit:
            return f"{int(seconds / unit)} {unit_name}"
    return f"{int(seconds / _YEAR)} years"


def size(count: float) -> str:
    """A number of bytes: `1.2 MB`."""
    units = iter(("B", "kB", "MB", "GB", "TB"))
    unit = next(units)
    while count >= 999.5 and (larger := next(units, None)):
        count, unit = count / 1000, larger
    return f"{count:.1f} {unit}" if unit != "B" and count < 9.95 else f"{count:.0f} {unit}"


def at_home(path: str) -> str:
    """A path as one line, with the user's home directory as ~."""
    home = environment.in_home("").rstrip("/")
    is_below = path == home or path.startswith(home + "/")
    return printable("~" + path[len(home) :] if home and is_below else path)


def local(seconds: float) -> str:
    """A time of the system's clock as people here read it: `2026-01-02 03:04:05`."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def iso(seconds: float | None) -> str | None:
    """A time of the system's clock as programs read it: `2026-01-02T03:04:05Z`."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def dim(text: str) -> str:
    """Style for secondary text."""
    return _styled(text, dim=True)


def good(text: str) -> str:
    """Style for what is well, or live."""
    return _styled(text, fg="green")


def doubtful(text: str) -> str:
    """Style for what needs attention."""
    return _styled(text, fg="yellow")


def bad(text: str) -> str:
    """Style for what is wrong."""
    return _styled(text, fg="red")


def highlighted(text: str) -> str:
    """Style for what was searched for."""
    return _styled(text, fg="red", bold=True)


def bold(text: str) -> str:
    """Style for what matters most."""
    return _styled(text, bold=True)


def _styled(text: str, **style: Any) -> str:
    # https://no-color.org; click itself leaves colours out where the output is no terminal.
    if environment.get("NO_COLOR") or environment.get("TERM") == "dumb":
        return text
    return click.style(text, **style)
