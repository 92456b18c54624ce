"""What was learned of the claudes here, as files beside the store: a surface for each program.

A file is named after its program's identity. Its first line is empty, unless the program is a
script: then it has the identity and path of each file that the script leads to. Its last line is
`asked PATH`, by which housekeeping asks that program again.
"""

import posix

from shim.base.files import content

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

DIRECTORY: "Final" = "surfaces"
ASKED: "Final" = "asked "
SEPARATOR: "Final" = "\t"


def identity(path: str) -> str:
    """What changes whenever a file is another or is written to. Raises OSError."""
    status = posix.stat(path)
    return f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def path(claude: str, store: str) -> str:
    """Where the surface of a program is, or will be. Raises OSError where there is no program."""
    return f"{store}/{DIRECTORY}/{identity(claude)}"


def read(path: str) -> str | None:
    """The lines of a surface, or None where there is none, or its script leads elsewhere now."""
    try:
        file = posix.open(path, posix.O_RDONLY)
    except OSError:
        return None
    try:
        text = content(file).decode("utf-8", "surrogateescape")
    finally:
        posix.close(file)
    return text if text.startswith("\n") or _leads_where_it_did(text) else None


def options(text: str) -> str:
    """What a surface says of its claude, whatever leads there."""
    return text[text.find("\n") : text.rfind("\n" + ASKED)]


def _leads_where_it_did(text: str) -> bool:
    fields = text[: text.find("\n")].split(SEPARATOR)
    try:
        return all(
            identity(path) == was for was, path in zip(fields[::2], fields[1::2], strict=True)
        )
    except (OSError, ValueError):
        return False
