"""RFC 3339 times, as the store writes them and as others may."""

import time

_DIGITS_AS_ZERO = str.maketrans("123456789", "000000000")
_SHAPE = "0000-00-00 00:00:00"
# As the store's writers have it: read in a third of the time that any other form takes.
_USUAL = "0000-00-00T00:00:00.000000000Z"
_MONTH_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


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


def nanoseconds(stamp: object) -> int | None:
    """An RFC 3339 timestamp as nanoseconds since the epoch, or None where it is none.

    Without `datetime` and `re`: they take milliseconds to import, and longer for each timestamp.
    """
    if not isinstance(stamp, str) or not stamp.isascii():
        return None
    if stamp.translate(_DIGITS_AS_ZERO) == _USUAL:
        return _time(stamp, 0, stamp[20:29])
    if stamp[:19].translate(_DIGITS_AS_ZERO).replace("T", " ").replace("t", " ") != _SHAPE:
        return None
    rest, east = _without_zone(stamp[19:])
    if east is None or not (rest == "" or (rest[0] == "." and rest[1:].isdigit())):
        return None
    return _time(stamp, east, f"{rest[1:]:0<9}"[:9])


def _time(stamp: str, east: int, fraction: str) -> int | None:
    """The time of a stamp of the right shape, with its zone and its nanoseconds taken apart."""
    days = _days(int(stamp[:4]), int(stamp[5:7]), int(stamp[8:10]))
    hour, minute, second = int(stamp[11:13]), int(stamp[14:16]), int(stamp[17:19])
    # RFC 3339 knows leap seconds.
    if days is None or hour > 23 or minute > 59 or second > 60:
        return None
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - east
    return seconds * 1_000_000_000 + int(fraction)


def _without_zone(text: str) -> "tuple[str, int | None]":
    """What stands before a timestamp's zone, and how many seconds east it is; None of no zone."""
    if text.endswith(("Z", "z")):
        return text[:-1], 0
    zone = text[-6:]
    if zone[1:].translate(_DIGITS_AS_ZERO) != "00:00" or zone[0] not in "+-":
        return text, None
    east = int(zone[1:3]) * 3600 + int(zone[4:]) * 60
    return text[:-6], -east if zone[0] == "-" else east


def _days(year: int, month: int, day: int) -> int | None:
    """The days from the epoch to a date of the Gregorian calendar, or None where it is none."""
    if not (year and 1 <= month <= 12 and day):
        return None
    is_leap_year = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if day > _MONTH_LENGTHS[month - 1] + (month == 2 and is_leap_year):
        return None
    # Counted in years that begin with March, so that a leap day is the last: 719468 are those from
    # the first of March of year 0 to the epoch.
    year -= month < 3
    of_year = (153 * ((month - 3) % 12) + 2) // 5 + day - 1
    return 365 * year + year // 4 - year // 100 + year // 400 + of_year - 719468
