"""The checker of histories finds what it says that it finds."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shim.fleet.backend import Stored
from shim.fleet.records import CLAIM, DATA, RELEASE, LeaseHolder, Record
from tests.support.history import Append, History


def record(kind: str, host: str, generation: int) -> Record:
    return Record(kind, LeaseHolder(host, host, "1", 1, "one-shot"), generation)


def history() -> tuple[History, list[Stored]]:
    """Two hosts, one after the other, of whom all was acknowledged at once; and their log."""
    made = [
        record(kind, host, generation)
        for generation, host in enumerate("ab", 1)
        for kind in (CLAIM, DATA, DATA, RELEASE)
    ]
    log = [Stored(n, it, "", n - 1) for n, it in enumerate(made, 1)]
    appends = [Append(it, n, n + 0.5, n) for n, it in enumerate(made, 1)]
    return History(appends, [log[:1], log[:5]]), log


def test_a_history_in_which_all_is_well() -> None:
    known, log = history()

    assert known.violations(log) == []


def test_one_without_an_answer_may_be_there_or_not() -> None:
    known, log = history()
    known.appends[-1] = Append(log[-1].record, 8)

    assert known.violations(log) == known.violations(log[:-1]) == []


def test_a_lost_append() -> None:
    known, log = history()

    (said,) = known.violations(log[:-1])

    assert said.endswith("was acknowledged as 8, and is lost")


def test_a_doubled_append() -> None:
    known, log = history()

    (said,) = known.violations([*log, replace(log[-1], sequence=9)])

    assert said.endswith("is there twice")


def test_an_append_that_nobody_made() -> None:
    known, log = history()

    (said,) = known.violations([*log, Stored(9, record(RELEASE, "b", 2), "", 8)])

    assert said.endswith("and nobody has appended it")


def test_reordered_appends() -> None:
    known, log = history()
    first, second = replace(log[2], sequence=2), replace(log[1], sequence=3)
    known.appends[1].sequence, known.appends[2].sequence = 3, 2
    known.reads.clear()

    (said,) = known.violations([log[0], first, second, *log[3:]])

    assert said.endswith("and is behind it")


def test_an_append_of_a_host_that_lost_the_conversation() -> None:
    known, log = history()
    late = record(DATA, "a", 1)
    known.appends.append(Append(late, 9, 9.5, 9))

    (said,) = known.violations([*log, Stored(9, late, "", 8)])

    assert said.endswith("is a's, and b has the conversation")


@pytest.mark.parametrize("missing", [0, 1, 3])
def test_a_read_that_was_stale(missing: int) -> None:
    known, log = history()
    del known.reads[1][missing]

    (said,) = known.violations(log)

    assert said.endswith("is not how the log begins")
