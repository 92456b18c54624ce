"""RFC 3339 times, as the store writes them."""

import time


def timestamp(nanoseconds: int) -> bytes:
    """A time since the epoch as RFC 3339 in UTC, with nanoseconds."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return b"%s.%09dZ" % (
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)).encode(),
        fraction,
    )


def now() -> str:
    """This moment as the store writes it."""
    return timestamp(time.time_ns()).decode()
