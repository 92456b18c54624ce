"""The lines on the sync daemon's socket, as the calls write and read them."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.fleet import protocol

values = st.one_of(st.text(), st.integers(), st.booleans(), st.none())


@given(st.dictionaries(st.text(), values))
def test_a_message_is_a_line_of_json(message: dict[str, object]) -> None:
    line = protocol.encode(message)
    assert line.count(b"\n") == 1
    assert json.loads(line) == message == protocol.decode(line)


@given(st.recursive(values, lambda it: st.lists(it) | st.dictionaries(st.text(), it)))
def test_what_a_daemon_answers_is_read_as_json_has_it(value: object) -> None:
    assert protocol.decode(json.dumps({"answer": value}).encode()) == {"answer": value}


def test_what_is_json_already_is_taken_as_it_is() -> None:
    line = protocol.encode({"event": b'{"a": [1, 2]}', "n": 1})
    assert json.loads(line) == {"event": {"a": [1, 2]}, "n": 1}


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b"1", b'{"a":}', b"\xff", b'"x"', b"[" * 99999])
def test_anything_else_is_misunderstood(line: bytes) -> None:
    with pytest.raises(protocol.Misunderstood):
        protocol.decode(line)
