"""Our plugin for OpenCode: the file that tells a claude who in OpenCode is calling."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from shim.base.messages import Failure

if TYPE_CHECKING:
    from typing import Final

MISSING: Final = "missing"
CURRENT: Final = "current"
OUTDATED: Final = "outdated"
FOREIGN: Final = "foreign"

_SOURCE = Path(__file__).parent / "claude-shim.js"
# Stands near the top of every version of it: how it is told from any other file.
_MARK = b"// claude-shim plugin"
_MARK_WITHIN = 1024


def path(project: bool) -> Path:
    """Where OpenCode looks for it: among this directory's plugins, or among the user's.

    The user's are in `OPENCODE_CONFIG_DIR`, else in `opencode` in `XDG_CONFIG_HOME` or ~/.config.
    """
    directory = Path(".opencode") if project else _user_directory()
    return directory.absolute() / "plugin" / _SOURCE.name


def state(path: Path) -> str:
    """MISSING, CURRENT, OUTDATED (another version's or edited), or FOREIGN: none of ours.

    Raises Failure where the file cannot be read.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return FOREIGN if path.is_symlink() else MISSING
    except OSError as problem:
        raise Failure(f"{path} cannot be read: {problem.strerror}") from problem
    if _MARK not in content[:_MARK_WITHIN]:
        return FOREIGN
    return CURRENT if content == _SOURCE.read_bytes() else OUTDATED


def install(path: Path) -> str:
    """Write the plugin, atomically, where it is not CURRENT; the state it was in before.

    A symbolic link to it stays one, and the file behind it is renewed: dotfiles are kept so.
    Raises Failure where a file that is not ours has that name, or the system refuses.
    """
    before = _own_state(path)
    if before == CURRENT:
        return before
    try:
        _write(path.resolve(), _SOURCE.read_bytes())
    except OSError as problem:
        raise Failure(f"{path} cannot be written: {problem.strerror}") from problem
    return before


def uninstall(path: Path) -> str:
    """Remove the plugin if it is there; the state it was in before.

    Raises Failure where a file that is not ours has that name, or the system refuses.
    """
    before = _own_state(path)
    if before != MISSING:
        try:
            path.unlink()
        except OSError as problem:
            raise Failure(f"{path} cannot be removed: {problem.strerror}") from problem
    return before


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Ends in neither .js nor .ts, which OpenCode would load, and is nobody else's.
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(8)}.new")
    try:
        with unfinished.open("xb") as file:
            file.write(content)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _own_state(path: Path) -> str:
    found = state(path)
    if found == FOREIGN:
        raise Failure(f"{path} is not ours: move it away, and run this again")
    return found


def _user_directory() -> Path:
    named = os.environ.get("OPENCODE_CONFIG_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config", "opencode")
