"""What a check found: how bad it is, what it is, and how to mend it."""

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    status: str
    """`ok`; `warning`: worth knowing, nothing is lost by it; `problem`: needs mending."""
    found: str
    mend: str | None = None


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(OK, found)


def warning(found: str, mend: str) -> Finding:
    """Worth knowing: conversations go on all the same."""
    return Finding(WARNING, found, mend)


def problem(found: str, mend: str) -> Finding:
    """Something needs mending."""
    return Finding(PROBLEM, found, mend)


def counted(number: int, what: str) -> str:
    """So many of something: `1 mapping`, `2 mappings`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
