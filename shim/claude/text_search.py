"""Searching transcripts for words: bytes first, and only what may match is parsed.

Of many files, `grep` tells which have the bytes that a match would have, three times as fast as
Python. A file is read from its end in pieces; where one has none of the bytes, no line is parsed.
"""

from __future__ import annotations

import os
import re
from itertools import product
from typing import TYPE_CHECKING

from shim.claude import lines

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Sequence
    from subprocess import Popen
    from typing import BinaryIO

    from shim.claude.lines import Line

    Span = tuple[int, int]

_PIECE = 1 << 18
# JSON may write any character as `\u` and four digits. Claude does so of control characters only.
_ESCAPED = re.compile(rb"\\u(?!00[01])")
_ESCAPED_ASCII = re.compile(rb"\\u00[2-7]")
_GREP_FAILED = 2
# What JSON writes, or may write, in another way than as itself.
_PLAIN = re.compile(r"[^\s\x00-\x1f\"\\/\ud800-\udfff]+")
# Their lower case is ASCII, which no byte of theirs shows, and one of them gets longer by it.
_UNFOLDED = {0x212A: "\ufffd", 0x130: "\ufffd"}


class Query:
    """Words and phrases that a text must all have, or a regular expression that it must match.

    The case counts where there is a capital letter. White space in a phrase matches any.
    """

    def __init__(self, words: Sequence[str], is_regex: bool = False) -> None:
        """Raises re.error where an expression is none."""
        letters = re.sub(r"\\.", "", "".join(words)) if is_regex else "".join(words)
        self._is_folded = letters == letters.lower()
        if is_regex:
            flags = re.MULTILINE | (re.IGNORECASE if self._is_folded else 0)
            self._patterns = [re.compile(word, flags) for word in words]
            self._sieve = _Sieve([])
        else:
            words = [self._fold(word) for word in words]
            self._patterns = [
                re.compile(r"\s+".join(map(re.escape, word.split()))) for word in words
            ]
            self._sieve = _Sieve([_Needle(word, self._is_folded) for word in words])
        self._is_regex = is_regex

    def spans(self, text: str) -> list[Span]:
        """Where the words are in a text, in order; empty where it lacks one of them."""
        folded = text if self._is_regex else self._fold(text)
        found: list[Span] = []
        for pattern in self._patterns:
            of_one = [match.span() for match in pattern.finditer(folded) if match.group()]
            if not of_one:
                return []
            found += of_one
        return _merged(found)

    def lines(self, file: BinaryIO) -> Iterator[Line]:
        """The lines of a transcript that may have all the words, the last first. Raises OSError."""
        return self._sieve.lines(file)

    def sift(self, paths: Sequence[str]) -> Container[str]:
        """Those of these files that may match."""
        return self._sieve.sift(paths)

    def _fold(self, text: str) -> str:
        return text.translate(_UNFOLDED).lower() if self._is_folded else text


class _Needle:
    """Bytes of which one or the other is in each line that has a word, unless it is escaped."""

    def __init__(self, word: str, is_folded: bool) -> None:
        runs = [run for plain in _PLAIN.findall(word) for run in _runs(plain)]
        ascii_runs = [run for run in runs if run.isascii()]
        run = max(ascii_runs or runs, key=len, default="")
        # Bytes have lower case for ASCII only.
        self.is_lowered = is_folded and run.isascii()
        self.escaped = _ESCAPED_ASCII if run.isascii() else _ESCAPED
        if run.isascii() or not is_folded:
            self.variants = [run.encode()]
        else:
            variants = product(*map(_variants, run[:2]))
            self.variants = ["".join(variant).encode() for variant in variants]

    def is_in(self, content: bytes, lowered: bytes) -> bool:
        """Whether a line or a piece of a file may have the word."""
        where = lowered if self.is_lowered else content
        return any(variant in where for variant in self.variants)


class _Sieve:
    """What tells the lines that may match."""

    def __init__(self, needles: list[_Needle]) -> None:
        # The longest is the rarest, roughly.
        self._needles = sorted(needles, key=lambda needle: -len(needle.variants[0]))
        self._is_lowered = any(needle.is_lowered for needle in needles)
        escapes = [needle.escaped for needle in needles]
        self._escaped = _ESCAPED if _ESCAPED in escapes else _ESCAPED_ASCII
        longest = (len(variant) for needle in needles for variant in needle.variants)
        self._overlap = max(longest, default=0) + len(b"\\u0020")

    def lines(self, file: BinaryIO) -> Iterator[Line]:
        """The lines that may match, the last first. Raises OSError."""
        if not self._needles:
            yield from lines.backward(file)
            return
        at = size = os.fstat(file.fileno()).st_size
        while at > 0:
            start = max(0, at - _PIECE)
            piece = os.pread(file.fileno(), at - start + self._overlap, start)
            # Several words are on one line, though maybe not in one piece.
            if self._passes(piece, self._needles[:1]):
                start = lines.start_of_line(file, start)
                end = lines.end_of_line(file, at, size)
                for line in lines.backward(file, start, end):
                    if self._passes(line.content, self._needles):
                        yield line
            at = start

    def sift(self, paths: Sequence[str]) -> Container[str]:
        """Those of these files that have the bytes; all of them where `grep` cannot tell."""
        needle = next(iter(self._needles), None)
        if needle is None or len(needle.variants) > 1 or not needle.variants[0]:
            return paths
        case = ["-i"] if needle.is_lowered else []
        escape = self._escaped.pattern if self._escaped is _ESCAPED_ASCII else rb"\\u"
        # At the same time: most machines have two processors.
        greps = [
            _grep(["-F", *case, "-e", needle.variants[0]], paths),
            _grep(["-e", escape], paths),
        ]
        with_needle, with_escape = map(_listed, greps)
        if with_needle is None or with_escape is None:
            return paths
        # Names are printed one a line.
        return {*with_needle, *with_escape, *(path for path in paths if "\n" in path)}

    def _passes(self, content: bytes, needles: list[_Needle]) -> bool:
        lowered = content.lower() if self._is_lowered else content
        if all(needle.is_in(content, lowered) for needle in needles):
            return True
        return self._escaped.search(content) is not None


def _grep(options: Sequence[str | bytes], paths: Sequence[str]) -> Popen[bytes] | None:
    """A `grep` for the files that have a pattern; None where there is no such program."""
    import subprocess

    try:
        return subprocess.Popen(
            ["grep", "-l", *options, "--", *paths],
            env={**os.environ, "LC_ALL": "C"},  # bytes, and no letters but those of ASCII
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
    except OSError:
        return None


def _listed(grep: Popen[bytes] | None) -> list[str] | None:
    """The files that a `grep` lists; None where it could not read one of them."""
    if grep is None:
        return None
    with grep:
        listed = grep.communicate()[0]
    return os.fsdecode(listed).split("\n") if grep.returncode < _GREP_FAILED else None


def _runs(plain: str) -> list[str]:
    """The parts of a text that are ASCII, and those that are not."""
    return re.findall(r"[\x00-\x7f]+|[^\x00-\x7f]+", plain)


def _variants(char: str) -> list[str]:
    """The characters whose lower case is this one."""
    if char.isascii() or char.lower() == char.upper():
        return [char]
    return [each for each in map(chr, range(0x80, 0x1F000)) if each.lower() == char]


def _merged(spans: list[Span]) -> list[Span]:
    """Spans in order, those that overlap as one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged
