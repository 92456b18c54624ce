"""What a check found: its severity, the finding, and the fix."""

from dataclasses import dataclass

OK, WARNING, PROBLEM = "ok", "warning", "problem"


@dataclass(frozen=True)
class Finding:
    """One thing that a check found."""

    status: str
    """`ok`; `warning`: worth knowing, nothing is lost by it; `problem`: needs a fix."""
    found: str
    fix: str | None = None


def ok(found: str) -> Finding:
    """All is well."""
    return Finding(OK, found)


def warning(found: str, fix: str) -> Finding:
    """Worth knowing: conversations are safe."""
    return Finding(WARNING, found, fix)


def problem(found: str, fix: str) -> Finding:
    """Something needs a fix."""
    return Finding(PROBLEM, found, fix)


def counted(number: int, what: str) -> str:
    """So many of something: `1 mapping`, `2 mappings`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"
