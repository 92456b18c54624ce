"""`claude-shim doctor`: check the set-up, and how to fix it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from shim.base import plain_text
from shim.checks import examination, fixing
from shim.checks.finding import OK, PROBLEM, WARNING, Finding
from shim.checks.setup import Setup
from shim.cli import output
from shim.cli.shared_options import bin_directory

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = {OK: "✓", WARNING: "!", PROBLEM: "✗"}
_ASCII_MARKS = {OK: "+", WARNING: "!", PROBLEM: "x"}
_COLOURS = {OK: output.good, WARNING: output.doubtful, PROBLEM: output.bad}
_WIDTH = max(map(len, examination.CHECKS))


@click.command("doctor")
@bin_directory
@click.option("--fix", "fixes", is_flag=True, help="First fix what needs no decision.")
@output.as_json
def command(directory: Path | None, fixes: bool, as_json: bool) -> None:
    """Check the whole set-up, and how to fix what is wrong.

    Run it in the shell and the directory where something fails: it checks PATH and the environment,
    too. It changes nothing without --fix, and sends nothing anywhere.

    \b
      tick   all is well
      !      worth knowing; conversations are safe
      cross  needs a fix: the exit code is then 1

    --fix renews an outdated launcher and OpenCode plugin, recovers a damaged store, removes a
    damaged backup, and makes the store private again.

    --json prints a list of objects with the fields check, status (ok, warning or problem), found,
    and mend: the fix, or null where all is well.
    """
    for done in fixing.fix(Setup(directory)) if fixes else ():
        click.echo(f"Fixed: {plain_text.printable(done)}", err=True)
    found: list[tuple[str, Finding]] = []
    shown = Report()
    for check, finding in examination.examine(Setup(directory)):
        found.append((check, finding))
        if not as_json:
            shown.add(check, finding)
    statuses = [finding.status for _, finding in found]
    if as_json:
        output.show_json([_as_json(check, finding) for check, finding in found])
    else:
        shown.end(statuses.count(PROBLEM), statuses.count(WARNING))
    if PROBLEM in statuses:
        sys.exit(1)


def _as_json(check: str, finding: Finding) -> dict[str, object]:
    # `mend` is what 0.2.0 calls the fix: programs read it.
    return {
        "check": check,
        "status": finding.status,
        "found": finding.found,
        "mend": finding.fix,
    }


class Report:
    """The report for people: a line for each finding, printed at once."""

    def __init__(self) -> None:
        # A path can hold characters that stdout cannot encode.
        encoding = sys.stdout.encoding or "ascii"
        try:
            "".join(_MARKS.values()).encode(encoding)
        except UnicodeEncodeError:
            self._marks, self._encoding = _ASCII_MARKS, encoding
        else:
            self._marks, self._encoding = _MARKS, encoding

    def add(self, check: str, finding: Finding) -> None:
        """Show one finding."""
        mark = _COLOURS[finding.status](self._marks[finding.status])
        self._show(f"{mark} {check:<{_WIDTH}}  {plain_text.printable(finding.found)}")
        if finding.fix:
            self._show(
                f"{'':<{_WIDTH + 2}}  {output.bold('fix:')} {plain_text.printable(finding.fix)}"
            )

    def end(self, problems: int, warnings: int) -> None:
        """Show the sum."""
        counts = [(problems, "problem"), (warnings, "warning")]
        parts = [f"{count} {what}{'s' * (count != 1)}" for count, what in counts if count]
        self._show("")
        self._show(" and ".join(parts) + "." if parts else "Nothing needs fixing.")

    def _show(self, line: str) -> None:
        click.echo(line.encode(self._encoding, "backslashreplace").decode(self._encoding))
