"""Reading RFC 3339 times."""

import re
from datetime import datetime, timedelta
from functools import lru_cache

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(?:\.(\d+))?(?:[Zz]|([+-])(\d\d):(\d\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1)
_SECOND = timedelta(seconds=1)


def nanoseconds(stamp: object) -> int | None:
    """An RFC 3339 timestamp as nanoseconds since the epoch, or None where it is none."""
    return _read(stamp) if isinstance(stamp, str) else None


# The times of a store are read to check them, and again to show them.
@lru_cache(1 << 17)
def _read(stamp: str) -> int | None:
    matched = _RFC3339.fullmatch(stamp)
    if matched is None:
        return None
    date, minute, second, fraction, sign, hours, minutes = matched.groups()
    try:
        at = datetime.fromisoformat(f"{date} {minute}")
    except ValueError:
        return None
    # RFC 3339 knows leap seconds, and datetime none.
    if int(second) > 60:
        return None
    seconds = (at - _EPOCH) // _SECOND + int(second)
    if sign:
        east = int(hours) * 3600 + int(minutes) * 60
        seconds += east if sign == "-" else -east
    return seconds * 1_000_000_000 + int(f"{fraction or '':0<9}"[:9])
