"""The table of environment variables, and the code that reads them."""

import pytest

from shim.base import settings
from tests.support import sources


def test_every_variable_that_code_reads_is_in_the_table() -> None:
    assert sources.variables() - settings.table().keys() == set()


def test_no_variable_is_in_the_table_that_no_code_reads() -> None:
    assert settings.table().keys() - sources.variables() == set()


@pytest.mark.parametrize(
    "program",
    [
        'from shim.base import environment\nenvironment.get("NEW_ONE")',
        'import os\nos.environ["NEW_ONE"]',
        'import os\nos.environ.get("NEW_ONE", "")',
        'import os\nos.getenv("NEW_ONE")',
        '_NAME = "NEW_ONE"\nfrom shim.base import environment\nenvironment.is_on(_NAME)',
        'def f(environ):\n    return environ.get(b"NEW_ONE")',
    ],
)
def test_a_variable_is_seen_however_it_is_read(program: str) -> None:
    assert sources.variables_of(program) == {"NEW_ONE"}


def test_a_variable_of_ours_is_seen_in_any_other_way() -> None:
    assert sources.variables_of('names = ("NSED_NEW_ONE", "Nothing")') == {"NSED_NEW_ONE"}


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("NSED_ON_BUSY", "fork", ""),
        ("NSED_ON_BUSY", "spoon", "is none of wait, fork, fail: taken as unset"),
        ("NSED_KEEP_DAYS", "0.5", ""),
        ("NSED_KEEP_DAYS", "nan", "is no number of days: taken as unset"),
        ("NSED_SESSION_DIR", "/srv/nsed", ""),
        ("NSED_SESSION_DIR", ".nsed", "is another directory wherever you are"),
        ("NSED_ROOM_ID", "wait, or not", ""),
    ],
)
def test_what_a_variable_takes(name: str, value: str, fault: str) -> None:
    assert settings.table()[name].fault(value) == fault


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NSED_ROOM", "NSED_ROOM_ID"),
        ("NSED_AGENT", "NSED_AGENT_NAME"),
        ("NSED_BUSYTIMEOUT", "NSED_BUSY_TIMEOUT"),
    ],
)
def test_a_misspelt_variable_is_named_with_one_that_people_set(name: str, meant: str) -> None:
    assert list(settings.misspelt([name, "HOME", "NSED_ROUND", "NSED_ROOM_ID"])) == [(name, meant)]
