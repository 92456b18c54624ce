"""RFC 3339 times: written, and read as `datetime` would."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.base.stamps import nanoseconds
from shim.base.times import timestamp

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
ZONES = st.integers(-23 * 60 - 59, 23 * 60 + 59).map(lambda m: timezone(timedelta(minutes=m)))


@given(st.datetimes(timezones=ZONES))
def test_any_time_in_any_zone_is_read_as_the_standard_library_reads_it(at: datetime) -> None:
    since = at - EPOCH
    seconds = since.days * 86_400 + since.seconds
    assert nanoseconds(at.isoformat()) == (seconds * 1_000_000 + since.microseconds) * 1_000


@given(st.integers(0, 253_402_300_799_999_999_999))
def test_what_is_written_is_read_again(at: int) -> None:
    assert nanoseconds(timestamp(at).decode()) == at


@given(st.text("0123456789-:.TtZz+ ", max_size=40))
def test_no_text_fails(text: str) -> None:
    assert isinstance(nanoseconds(text), int | None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "2026", "2026-01-02", "2026-01-02T03:04:05", "2026-01-02T03:04:05.Z"),
        *("2026-13-02T03:04:05Z", "2026-02-30T03:04:05Z", "2025-02-29T00:00:00Z"),
        *("0000-01-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-02T24:00:00Z"),
        *("2026-01-02T03:60:05Z", "2026-01-02T03:04:61Z", "2026-01-02T03:04:05+1:00"),
        *("2026-01-02T03:04:05 Z", "٢٠٢٦-01-02T03:04:05Z", "2026-01-02T03:04:05.1+Z"),
    ],
)
def test_what_is_no_time_is_none(text: str) -> None:
    assert nanoseconds(text) is None


def test_a_leap_second_is_the_one_before_the_next_minute() -> None:
    leap, after = "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"
    assert nanoseconds(leap) == nanoseconds(after)
