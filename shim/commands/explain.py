"""`claude-shim explain`: show what a call of claude would do."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from shim.base import settings
from shim.base.plain_text import command_line, printable
from shim.call.dry_run import DryRun
from shim.cli.output import as_json, show_json
from shim.cli.shared_options import default_bin_directory
from shim.install import launcher, real_claude
from shim.install.launcher import first_on_path


@click.command(
    "explain",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@as_json
@click.argument("args", metavar="[--] ARGS...", nargs=-1, type=click.UNPROCESSED)
def command(as_json: bool, args: tuple[str, ...]) -> None:
    """Show step by step what `claude ARGS...` would do here. Changes nothing.

    Room and agent come from this shell's environment, as they do for claude. As with claude, a
    terminal on stdout makes the run interactive unless ARGS decide otherwise.

    \b
      NSED_ROOM_ID=refactor claude-shim explain -- -p "Which word was it?"
    """
    first = first_on_path()
    ours = Path(first) if first and real_claude.is_launcher(first) else None
    directory = ours.parent if ours else default_bin_directory()
    dry_run = DryRun(real_claude.find, args, str(launcher.plugin(directory)))
    steps = [*_misspelt(), *dry_run.steps]
    if as_json:
        show_json(_as_json(ours, steps, dry_run))
        return
    if ours is None and _is_off_path(directory):
        what_runs = f"claude is {first}" if first else "there is no claude"
        how = command_line("init")
        click.echo(f"! the launcher in {directory} is not on PATH, {what_runs}: see `{how} --help`")
    elif first is None:
        click.echo("! there is no claude on PATH, and no launcher: see `install`")
    elif ours is None:
        click.echo(f"! the launcher is not first on PATH, {first} is: see `install`")
    else:
        click.echo(f"  the launcher is {ours}")
    for message, is_warning in steps:
        click.echo(f"{'!' if is_warning else ' '} {printable(message)}")
    if dry_run.command is None:
        click.echo(f"claude would not run: exit code {dry_run.exit_code}")
    else:
        click.echo("claude would become:")
        click.echo(f"  {printable(shlex.join(dry_run.command))}")


def _is_off_path(directory: Path) -> bool:
    """Whether a directory has a launcher, and is not on PATH."""
    path = directory / launcher.NAME
    is_there = path.is_file() and real_claude.is_launcher(path)
    return is_there and str(directory) not in os.get_exec_path()


def _misspelt() -> list[tuple[str, bool]]:
    """A warning for each variable that looks like a misspelt one of ours."""
    return [(settings.hint(name, meant), True) for name, meant in settings.misspelt(os.environ)]


def _as_json(
    ours: Path | None, steps: list[tuple[str, bool]], dry_run: DryRun
) -> dict[str, object]:
    command = dry_run.command
    return {
        "launcher": str(ours) if ours else None,
        "steps": [{"message": message, "is_warning": is_warning} for message, is_warning in steps],
        "claude": command[0] if command else None,
        "args": command[1:] if command else None,
        "environment": {name: os.fsdecode(value) for name, value in dry_run.added.items()},
        "exit_code": dry_run.exit_code,
    }
