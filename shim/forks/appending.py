"""Appending the turns that a conversation lacks to its transcript, all of them or none.

Nobody but the holder of the conversation's lock does it, and only while no claude lives on the
conversation: a live one's next line would follow its own last line, beside all that was appended.

The bytes to append are first written to `forked/<session id>.appending`, then to the transcript.
Who finds that file cuts off what a kill left unfinished. It is no part of the promise that this
file survives a power cut: turns that are there in part are completed (`lacking`).
"""

from __future__ import annotations

import contextlib
import json
import os

from shim.base import files
from shim.base.messages import Failure
from shim.claude import lines
from shim.claude.chain import Chain, leaf_of
from shim.claude.copying import Passage, checkpoint
from shim.store import markers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from shim.claude.chain import Row, Turn
    from shim.forks.lacking import Lacking


class Broken(Exception):
    """What was appended does not follow what was there: it was cut off again."""


def append(store: str, path: str, lacking: Lacking) -> None:
    """Append turns to a transcript, durably. Raises OSError, Failure, and Broken.

    Whatever it raises, the transcript ends as before, or with what a later `undo` cuts off.
    """
    session_id = os.path.basename(path).removesuffix(".jsonl")
    with lines.open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        chain = lacking.chain
        leaf = chain.leaf if chain and chain.rows else leaf_of(file, path)
        is_ended = size == 0 or os.pread(file.fileno(), 1, size - 1) == b"\n"
    passages = {turn.path: Passage(turn.path, path) for turn in lacking.turns}
    content, last = _content(lacking, passages, leaf)
    # Rows of a turn that is here in part may follow any of those that are.
    above = {leaf, *(row.uuid for row in lacking.turns[0].rows if row.uuid in lacking.here)}
    prompt = lacking.turns[-1].prompt
    content.append(checkpoint(session_id, last, prompt))
    _copy_sidecars(lacking.turns, passages)
    payload = (b"" if is_ended else b"\n") + b"".join(content)
    intent = _intent(store, session_id)
    files.make_directory(os.path.dirname(intent))
    head = json.dumps({"path": path, "size": size}).encode() + b"\n"
    files.replace_with(intent, lambda out: files.write(out, head + payload, 0))
    try:
        _write(path, size, payload)
        _check(path, size, above, last)
    except BaseException:
        undo(store, session_id)
        raise
    os.unlink(intent)


def undo(store: str, session_id: str) -> None:
    """Cut off what a kill left of an append, if anything. Raises OSError.

    Nothing is cut off where somebody wrote behind it.
    """
    intent = _intent(store, session_id)
    try:
        with open(intent, "rb") as file:
            head, payload = json.loads(file.readline()), file.read()
    except FileNotFoundError:
        return
    except ValueError:  # torn by a power cut
        head, payload = {}, b""
    with contextlib.suppress(FileNotFoundError):
        if head:
            _cut(head["path"], head["size"], payload)
    os.unlink(intent)


def _cut(path: str, size: int, payload: bytes) -> None:
    file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        behind = os.fstat(file).st_size - size
        if 0 < behind <= len(payload) and os.pread(file, behind, size) == payload[:behind]:
            os.ftruncate(file, size)
            os.fsync(file)
    finally:
        os.close(file)


def _content(
    lacking: Lacking, passages: dict[str, Passage], leaf: str | None
) -> tuple[list[bytes], str]:
    """The lines to append, and the id of the row that the last of them is."""
    content: list[bytes] = []
    last = leaf
    for turn in lacking.turns:
        known = {each for row in turn.rows for each in row.ids if each in lacking.here}
        for row in turn.rows:
            if row.uuid not in known:
                parent = turn.ancestor(row, known) or last
                content.append(passages[turn.path].line(row, parent))
                known.update(row.ids)
        last = turn.id
    return content, str(last)


def _copy_sidecars(turns: list[Turn], passages: dict[str, Passage]) -> None:
    """Copy the files that the turns name, before there are lines that name the copies."""
    rows: dict[str, list[Row]] = {}
    for turn in turns:
        rows.setdefault(turn.path, []).extend(turn.rows)
    for path, passage in passages.items():
        for source, copy in passage.sidecars(rows[path]):
            os.makedirs(os.path.dirname(copy), mode=0o700, exist_ok=True)
            import shutil  # few turns name a file

            # Another name first: a copy that a kill left unfinished would count as whole.
            unfinished = copy + files.UNFINISHED
            shutil.copyfile(source, unfinished)
            os.rename(unfinished, copy)


def is_unfinished(store: str, session_id: str) -> bool:
    """Whether a kill left an append unfinished."""
    return os.path.lexists(_intent(store, session_id))


def _intent(store: str, session_id: str) -> str:
    return f"{store}/{markers.FORKED}/{session_id}.appending"


def _write(path: str, size: int, payload: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        if os.fstat(file).st_size != size:
            raise Failure("another program writes to this conversation")
        files.write(file, payload, size)
        os.fsync(file)
    finally:
        os.close(file)


def _check(path: str, size: int, above: set[str | None], last: str) -> None:
    """Read the chain back, from the new end to what was there. Raises Broken."""
    with lines.open_regular(path) as file:
        chain = Chain(file, path, size)
    new = chain.follows(last)
    parents = {row.parent for row in chain.rows.values() if row.uuid in new} - new
    if chain.leaf != last or not parents <= above:
        raise Broken(f"what was appended to {path} does not follow what was there")
