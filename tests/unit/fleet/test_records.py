"""Records to and from bytes, and what a hostile server could send instead."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import asdict, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.fleet import records
from shim.fleet.records import CLAIM, DATA, RELEASE, Hostile, LeaseHolder, Newer, Record

HOLDER = LeaseHolder("h", "name", "i", 7, "one-shot")
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
parts = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1)
holders = st.builds(LeaseHolder, names, names, names, st.integers(0, 1 << 22), names)
counts = st.integers(0, 1 << 53)
files = st.lists(parts.filter(lambda it: it not in (".", "..") and len(it) < 256), max_size=8).map(
    "/".join
)


@given(st.sampled_from([CLAIM, RELEASE]), holders, counts)
def test_a_claim_or_release_comes_back_as_it_was(
    kind: str, holder: LeaseHolder, generation: int
) -> None:
    record = Record(kind, holder, generation)
    assert records.from_bytes(record.to_bytes()) == record


@given(holders, files, counts, st.booleans(), st.binary(max_size=5000))
def test_data_comes_back_as_it_was(
    holder: LeaseHolder, file: str, offset: int, is_continued: bool, body: bytes
) -> None:
    record = Record(DATA, holder, 1, file, offset, is_continued, body)
    assert records.from_bytes(record.to_bytes()) == record


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_refused(payload: bytes) -> None:
    with pytest.raises(Hostile):
        records.from_bytes(payload)


@given(
    st.dictionaries(
        st.sampled_from(["kind", "holder", "generation", "nonce", "file", "offset"]),
        st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers())),
    )
)
def test_any_head_is_refused_that_is_not_as_ours(head: dict[str, Any]) -> None:
    with pytest.raises(Hostile):
        records.from_bytes(json.dumps(head).encode())


@pytest.mark.parametrize(
    "name",
    ["..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", ".", "a/./b", "x\0y", "a/" * 8 + "b"],
)
def test_a_file_that_leads_out_of_the_conversation_is_refused(name: str) -> None:
    with pytest.raises(Hostile):
        records.from_bytes(Record(DATA, HOLDER, 1, name).to_bytes())


def test_a_body_that_grows_without_end_is_refused() -> None:
    head = Record(DATA, HOLDER, 1).to_bytes().partition(b"\n")[0]
    with pytest.raises(Hostile):
        records.from_bytes(head + b"\n" + zlib.compress(bytes(50 << 20)))


@pytest.mark.parametrize("offset", [-1, 1 << 60, True, 1.5, "0", None])
def test_an_offset_that_is_no_place_in_a_file_is_refused(offset: Any) -> None:
    with pytest.raises(Hostile):
        records.from_bytes(replace(Record(DATA, HOLDER, 1), offset=offset).to_bytes())


@pytest.mark.parametrize("size", [0, 1, 1 << 20, (2 << 20) + 7])
@pytest.mark.parametrize("kind", ["as compact as can be", "all the same"])
def test_pieces_make_up_the_body_and_each_fits_into_a_record(size: int, kind: str) -> None:
    body = bytes(size) if kind == "all the same" else random.Random(1).randbytes(size)
    pieces = list(records.pieces(body))
    assert b"".join(pieces) == body
    assert all(
        len(Record(DATA, HOLDER, 1, body=piece).to_bytes()) <= records.LARGEST for piece in pieces
    )


def changed(**fields: Any) -> bytes:
    head = json.loads(Record(CLAIM, HOLDER, 1).to_bytes())
    return json.dumps(head | fields).encode()


def test_a_record_may_say_more_than_is_known_here() -> None:
    said = changed(colour="red", holder={**asdict(HOLDER), "colour": "blue"})

    assert records.from_bytes(said).holder == HOLDER


def test_a_record_of_a_newer_version_is_no_damage() -> None:
    with pytest.raises(Newer, match="a newer claude-shim has written to this fleet: update it"):
        records.from_bytes(changed(version=2, kind="whatever", holder=None))
