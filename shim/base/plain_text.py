"""Text without invisible characters: names and words on one line, in which everything shows."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import unicodedata

JOINER = "\u200d"
EMOJI_STYLE = "\ufe0f"
# Cc, Cf: what moves the cursor, turns the writing direction or is not seen; Cs: half a character;
# Zl, Zp: line ends.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
# Fillers and variation selectors are invisible, too, though Unicode calls them letters and marks.
_FILLERS = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0"
    + "".join(map(chr, (*range(0x180B, 0x1810), *range(0xFE00, 0xFE0E), *range(0xE0100, 0xE01F0))))
)


def printable(text: str) -> str:
    """A text as one line; invisible characters are escaped as in Python."""
    if text.isascii() and text.isprintable():
        return text
    escaped = [
        char.encode("unicode_escape").decode() if _is_unseen(text, at) else char
        for at, char in enumerate(text)
    ]
    return "".join(escaped)


def visible_json(text: str) -> str:
    """A JSON text in which invisible characters are escaped, but the line ends between values.

    Whoever parses it gets the same value.
    """
    unseen = {char for char in set(text) if char != "\n" and _is_unseen(char, 0)}
    return text.translate({ord(char): json.dumps(char)[1:-1] for char in unseen})


def _is_unseen(text: str, at: int) -> bool:
    char = text[at]
    if char == JOINER:
        return not (0 < at < len(text) - 1 and _is_emoji(text[at - 1]) and _is_emoji(text[at + 1]))
    return char in _FILLERS or unicodedata.category(char) in _UNSEEN


def _is_emoji(char: str) -> bool:
    return char == EMOJI_STYLE or unicodedata.category(char) in ("So", "Sk")


def shell_word(word: str) -> str:
    """A word quoted for a shell, as one line without invisible characters."""
    if printable(word) == word:
        return shlex.quote(word)
    # As bash, zsh and POSIX of 2024 read it.
    escaped = "".join(
        char
        if char.isascii() and char.isprintable() and char not in "'\\"
        else "".join(f"\\x{byte:02x}" for byte in _bytes(char))
        for char in word
    )
    return f"$'{escaped}'"


def command_line(subcommand: str, *operands: str) -> str:
    """A `claude-shim` command line to paste into a shell, whatever the operands hold."""
    end_of_options = ["--"] if any(word.startswith("-") for word in operands) else []
    words = [own_program(), *subcommand.split(), *end_of_options, *operands]
    return " ".join(map(shell_word, words))


def own_program() -> str:
    """What to type for `claude-shim`: its name if PATH has it, else its path."""
    name = "claude-shim"
    path = os.path.abspath(sys.argv[0])
    is_it = os.path.basename(path) == name and os.path.isfile(path)
    return path if is_it and not shutil.which(name) else name


def _bytes(char: str) -> bytes:
    """A character of a path, or of a name, which can be half a character: the store's `?`."""
    try:
        return char.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return b"?"
