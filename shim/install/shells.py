"""What a shell's start-up file needs: the launcher first on PATH, and completion."""

import os
import shlex
import sys
from pathlib import Path

from shim.base.plain_text import own_program

NAMES = ("bash", "zsh", "fish")

_START_UP_FILES = {
    # A login shell, as macOS starts in each window, reads no other.
    "bash": "~/.bash_profile" if sys.platform == "darwin" else "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/config.fish",
}

_CODE = Path(__file__).parent / "shell_code"
_FIRST_ON_PATH = {"bash": "first-on-path.sh", "zsh": "first-on-path.sh"}


def own() -> str | None:
    """The name of the user's shell, as `SHELL` has it, or None for one that we know nothing of."""
    name = os.path.basename(os.environ.get("SHELL", ""))
    return name if name in NAMES else None


def start_up_file(shell: str) -> str:
    """The file that a shell reads as it starts."""
    return _START_UP_FILES[shell]


def code(shell: str, directory: Path) -> str:
    """What puts a directory first on PATH, and makes the shell complete `claude-shim`."""
    first = (_CODE / _FIRST_ON_PATH.get(shell, "first-on-path.fish")).read_text("utf-8")
    return first.replace("@DIRECTORY@", _quoted(shell, directory)) + "\n" + completion(shell)


def completion(shell: str) -> str:
    """What makes a shell complete `claude-shim`, and no more."""
    return (_CODE / f"completion.{shell}").read_text("utf-8")


def init_line(shell: str, directory: Path | None) -> str:
    """The line for the start-up file, that has `claude-shim` print the code.

    `directory` is the launcher's, where it is not the usual one.
    """
    words = [own_program(), "init", shell]
    if directory is not None:
        words += ["--bin-dir", str(directory)]
    command = " ".join(_quoted(shell, word) for word in words)
    return f"{command} | source" if shell == "fish" else f'eval "$({command})"'


def path_line(shell: str | None, directory: Path) -> str:
    """The line that puts a directory first on PATH, and no more."""
    if shell == "fish":
        return f"fish_add_path --move --path {_quoted(shell, directory)}"
    return f"export PATH={_quoted(shell, directory)}:$PATH"


def _quoted(shell: str | None, word: Path | str) -> str:
    quoted = shlex.quote(str(word))
    if shell != "fish" or quoted == str(word):
        return quoted
    # To fish, a backslash means something between single quotes too.
    text = str(word).replace("\\", "\\\\").replace("'", "\\'")
    return f"'{text}'"
