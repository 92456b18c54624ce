"""What the lines of a transcript are, and whether its last turn is finished."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shim.claude import lines

if TYPE_CHECKING:
    from pathlib import Path

Entry = dict[str, Any]


def user(content: object, **fields: Any) -> Entry:
    return {"type": "user", "message": {"role": "user", "content": content}, **fields}


def assistant(stop_reason: str | None, *blocks: Entry, **fields: Any) -> Entry:
    message = {"role": "assistant", "model": "m", "content": [*blocks], "stop_reason": stop_reason}
    return {"type": "assistant", "message": message, **fields}


def text(said: str) -> Entry:
    return {"type": "text", "text": said}


RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "ok"}
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "s"}
ASKED = user("hello")
ANSWERED = assistant("end_turn", text("hi"))
CAVEAT = user("<local-command-caveat>Caveat: …</local-command-caveat>", isMeta=True)
CLEAR = user("<command-name>/clear</command-name>\n  <command-message>clear</command-message>")
REVIEW = user(
    "<command-message>review</command-message>\n<command-name>/review</command-name>\n"
    "<command-args>the diff</command-args>"
)
CONTINUE = user([text("Continue from where you left off.")], isMeta=True)
SYNTHETIC = assistant("stop_sequence", text("No response requested."))
SYNTHETIC["message"]["model"] = "<synthetic>"
MAX_TURNS = {"type": "attachment", "uuid": "u", "attachment": {"type": "max_turns_reached"}}
FAILURE = assistant("stop_sequence", text("API Error: 400"), isApiErrorMessage=True)


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (ASKED, lines.PROMPT),
        (user([text("[Image #1]"), {"type": "image"}]), lines.PROMPT),
        (user([{"type": "image"}]), lines.PROMPT),
        (REVIEW, lines.PROMPT),
        (user("<task-notification>\n<status>completed</status>"), lines.NOTIFICATION),
        (user("done", origin={"kind": "task-notification"}), lines.NOTIFICATION),
        (user("hello", origin={"kind": "human"}), lines.PROMPT),
        (user([RESULT]), lines.RESULT),
        (user([RESULT, text("of the tool")]), lines.RESULT),
        (user([text("[Request interrupted by user for tool use]")]), lines.INTERRUPTION),
        (user("why does it say [Request interrupted by user]?"), lines.PROMPT),
        (CAVEAT, lines.META),
        (CONTINUE, lines.META),
        (CLEAR, lines.LOCAL),
        (user("<local-command-stdout>Compacted </local-command-stdout>"), lines.LOCAL),
        (user("<bash-input>ls</bash-input>"), lines.LOCAL),
        (user("<bash-stdout>a</bash-stdout><bash-stderr></bash-stderr>"), lines.LOCAL),
        (user("a summary", isCompactSummary=True), lines.OTHER),
        (user("hello", isSidechain=True), lines.OTHER),
        (user(""), lines.OTHER),
        ({"type": "user"}, lines.OTHER),
        (ANSWERED, lines.ANSWER),
        (assistant("tool_use", {"type": "tool_use", "id": "t"}), lines.ANSWER),
        (assistant("end_turn", isSidechain=True), lines.OTHER),
        (SYNTHETIC, lines.SYNTHETIC),
        (FAILURE, lines.FAILURE),
        (MAX_TURNS, lines.STOPPED),
        ({"type": "attachment", "uuid": "u", "attachment": {"type": "file"}}, lines.OTHER),
        ({"type": "system", "subtype": "compact_boundary"}, lines.OTHER),
        ({"type": "api-request-blob", "message": {"role": "user", "content": "x"}}, lines.OTHER),
        ({}, lines.OTHER),
    ],
)
def test_each_line_is_of_one_kind(entry: Entry, kind: str) -> None:
    assert lines.kind(entry) == kind


def test_a_command_that_is_a_prompt_is_quoted_as_it_was_typed() -> None:
    assert lines.prompt(REVIEW) == "/review the diff"
    assert lines.prompt(CLEAR) is None


@pytest.mark.parametrize(
    ("entries", "state"),
    [
        ([], None),
        ([CAVEAT], None),
        ([ASKED], lines.UNDER_WAY),
        ([REVIEW, user([text("Review the diff")], isMeta=True)], lines.UNDER_WAY),
        ([ASKED, ANSWERED], lines.FINISHED),
        ([ASKED, ANSWERED, CAVEAT, CLEAR], lines.FINISHED),
        ([CAVEAT, CLEAR, {"type": "system", "subtype": "local_command"}], lines.FINISHED),
        ([ASKED, assistant("end_turn", THOUGHT)], lines.UNDER_WAY),
        ([ASKED, assistant("end_turn", THOUGHT), ANSWERED], lines.FINISHED),
        ([ASKED, assistant("tool_use", text("let me see"))], lines.UNDER_WAY),
        ([ASKED, assistant("tool_use"), user([RESULT]), MAX_TURNS], lines.FINISHED),
        ([ASKED, user([text("[Request interrupted by user]")])], lines.FINISHED),
        ([ASKED, FAILURE], lines.FAILED),
        ([ASKED, ANSWERED, CONTINUE, SYNTHETIC], lines.FINISHED),
        ([ASKED, assistant("tool_use"), user([RESULT]), CONTINUE, SYNTHETIC], lines.UNDER_WAY),
    ],
)
def test_a_turn_is_finished_by_its_answer_an_interruption_or_a_limit(
    entries: list[Entry], state: str | None
) -> None:
    assert lines.state(entries) == state


def places(found: list[lines.Line]) -> list[tuple[int, bytes]]:
    return [(line.start, line.content) for line in found]


@settings(max_examples=50)
@given(
    st.lists(st.sampled_from([b"\n", b"a", b"{}", b"\0\0", b"long " * 40]), max_size=60).map(
        b"".join
    ),
    st.integers(0, 90),
    st.integers(0, 90),
    st.sampled_from([1, 3, 64]),
)
def test_lines_are_the_same_from_either_end(
    content: bytes, start: int, less: int, chunk: int
) -> None:
    stop = max(start, len(content) - less)
    with tempfile.TemporaryFile() as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "_CHUNK", chunk)
        file.write(content)
        file.flush()
        stop = min(stop, len(content))
        ahead = places(list(lines.forward(file, start, stop)))
        assert b"".join(piece for _, piece in ahead) == content[start:stop]
        assert all(content[at : at + len(piece)] == piece for at, piece in ahead)
        assert places(list(lines.backward(file, start, stop)))[::-1] == ahead
        assert places(lines.tail(file, len(content) + 1)) == places(list(lines.forward(file)))


def test_no_more_is_read_than_the_lines_taken(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.seek(1 << 40)  # a hole: it takes no space
        file.write(b"\n" + json.dumps(ASKED).encode() + b"\n")
    with lines.open_regular(str(path)) as opened:
        (last,) = lines.tail(opened, 1)
        assert last.entry == ASKED
        assert next(lines.forward(opened, 0, 10)).content == b"\0" * 10


def test_what_a_power_cut_left_before_a_line_is_ignored() -> None:
    line = lines.Line(0, b"\0\0\0" + json.dumps(ASKED).encode() + b"\n")
    assert line.is_whole
    assert line.entry == ASKED
    torn = lines.Line(7, b'{"type":"us')
    assert (torn.entry, torn.is_whole, torn.end) == ({}, False, 18)


def test_a_fifo_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="no regular file"):
        lines.open_regular(str(tmp_path / "fifo"))


def test_what_is_written_out_of_order_is_read_in_order() -> None:
    asked, answered = {**ASKED, "uuid": "p"}, {**ANSWERED, "uuid": "a", "parentUuid": "p"}
    assert list(lines.in_order([answered, asked])) == [asked, answered]
