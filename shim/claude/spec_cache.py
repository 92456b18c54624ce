"""The cache of discovered specs: files beside the store, one per claude program.

A file is named after its program's identity. If the program is a script, its first line has the
identity and path of each file that the script leads to; otherwise that line is empty. Its last line
is `asked PATH`, so that housekeeping can ask that program again.
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
    """A string that changes if a file is replaced or written to. Raises OSError."""
    status = posix.stat(path)
    return f"{status.st_dev}-{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"


def path(claude: str, store: str) -> str:
    """The path of a program's cached spec. Raises OSError if there is no program."""
    return f"{store}/{DIRECTORY}/{identity(claude)}"


def read(path: str) -> str | None:
    """The text of a cached spec; None if there is none, or its script leads elsewhere now."""
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
    """The options in a cached spec, without its first and last line."""
    return text[text.find("\n") : text.rfind("\n" + ASKED)]


def _leads_where_it_did(text: str) -> bool:
    fields = text[: text.find("\n")].split(SEPARATOR)
    try:
        return all(
            identity(path) == was for was, path in zip(fields[::2], fields[1::2], strict=True)
        )
    except (OSError, ValueError):
        return False
