"""Writing a fork: a transcript with the head's chain up to its last finished turn."""

from __future__ import annotations

import os

from shim.base import files
from shim.claude import lines, transcripts
from shim.claude.chain import end_of
from shim.claude.copying import checkpoint
from shim.forks import fork_marker
from shim.forks.fork_marker import Marker, Place
from shim.retention import sidecars

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from shim.claude.chain import Chain

_CHUNK = 1 << 22


def can_write(head: str) -> bool:
    """Whether a transcript has anything that a fork could be written of. Raises OSError."""
    with lines.open_regular(head) as file:
        chain = end_of(file, head)
        return chain.leaf is not None and bool(chain.turns() or chain.has_compaction)


def write(store: str, head: str, fork: str, by: str) -> str | None:
    """Write a fork of the conversation in a transcript, and return the path of its own.

    `head` is the transcript's path, `fork` the new session id, `by` who begins it. None where no
    turn of the head is finished: there is nothing to copy. Raises OSError, Failure.

    It lies beside the head's, in the same config directory. Sidecars that the head's lines name
    stay where they are; those of subagents are copied, because claude appends to them.
    """
    found = copied(head, fork)
    if found is None:
        return None
    path, shared = found
    head_id = transcripts.session_id_of(head)
    # Both are the same up to there; what other forks have to compare with the head, this one has to
    # compare with them.
    others = fork_marker.all_of(store, head_id)
    start = min([shared, *(marker.head_known.size for marker in others)])
    marker = Marker(fork, head_id, by, path)
    with lines.open_regular(head) as file:
        marker.head_known, marker.head_read = Place.at(file, start), Place.at(file, shared)
    with lines.open_regular(path) as file:
        marker.fork_known, marker.fork_read = Place.at(file, start), Place.at_end(file)
    try:
        fork_marker.begin(store, marker)
    except BaseException:
        os.unlink(path)  # what nobody notes would not come back
        raise
    return path


def begin_head(store: str, head: str, fork: str) -> str | None:
    """Write the transcript of a head in which nothing was said, from the one of a fork of it.

    `head` is the head's session id, `fork` the path of the fork's transcript. All forks are
    compared whole with it afterwards. Returns its path; None where no turn of the fork is finished.
    Raises OSError, Failure.
    """
    found = copied(fork, head)
    if found is None:
        return None
    for marker in fork_marker.all_of(store, head):
        fork_marker.update(store, marker.fork, Marker.compare_whole)
    return found[0]


def copied(head: str, fork: str) -> tuple[str, int] | None:
    """The path of a copy of a transcript under another id, and up to where both are the same."""
    head_id = transcripts.session_id_of(head)
    path = f"{os.path.dirname(head)}/{fork}{transcripts.ENDING}"
    with lines.open_regular(head) as file:
        chain = end_of(file, head)
        turns = chain.turns()
        if chain.leaf is None or not (turns or chain.has_compaction):
            return None
        left_out = {row.uuid for row in chain.unsettled()}
        shared = chain.settled_end()
        leaf = _leaf(chain, left_out)
        kept = [
            row
            for row in dict.fromkeys(chain.rows.values())
            if row.line.start >= shared and row.uuid not in left_out
        ]
        prompt = turns[-1].prompt if turns else ""
        ids = (_field(head_id), _field(fork))  # as long as one another: places stay the same

        def fill(out: int) -> None:
            at, piece = 0, b"\n"
            for piece in _pieces(file, shared):
                files.write(out, piece.replace(*ids), at)
                at += len(piece)
            ended = b"" if piece.endswith(b"\n") else b"\n"
            last = b"".join(_whole(row.line.content.replace(*ids)) for row in kept)
            files.write(out, ended + last + checkpoint(fork, leaf, prompt), at)
            os.fsync(out)

        sidecars.copy_subagents(head, path)
        files.replace_with(path, fill)
    return path, shared


def _leaf(chain: Chain, left_out: set[str]) -> str:
    """The id of the last row of the chain that is not left out."""
    uuid = chain.leaf
    while uuid in left_out:
        uuid = chain.rows[uuid].parent
    return str(uuid)


def _pieces(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The first bytes of a file, in pieces of whole lines."""
    file.seek(0)
    left = size
    while left:
        piece = file.read(min(_CHUNK, left))
        left -= len(piece)
        if not piece:
            raise OSError(f"{file.name} was cut")
        if left and not piece.endswith(b"\n"):
            rest = file.readline(left)
            left -= len(rest)
            piece += rest
        yield piece


def _whole(line: bytes) -> bytes:
    return line if line.endswith(b"\n") else line + b"\n"


def _field(session_id: str) -> bytes:
    return f'"sessionId":"{session_id}"'.encode()
