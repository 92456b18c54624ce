"""What lies beside the store and nothing can need goes; a link that somebody was given stays."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from shim.base import times
from shim.base.session_key import SessionKey
from shim.forks import fork_marker
from shim.forks.fork_marker import Marker
from shim.retention import tidying
from shim.store import markers, plugin_links

U, V = (f"0000000{n}-0000-4000-8000-000000000000" for n in range(2))
DAY = 86400
Link = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    (tmp_path / "store").mkdir()
    return tmp_path / "store"


@pytest.fixture
def link(store: Path, tmp_path: Path) -> Link:
    """Makes the link of a room, so many days ago."""
    (tmp_path / "plugin" / "following").mkdir(parents=True)
    (tmp_path / "plugin" / "follow").touch(mode=0o755)

    def make(room: bytes = b"r", days: float = 31) -> Path:
        key = SessionKey(room, b"claude")
        made = plugin_links.ensure(str(store), key, str(tmp_path / "plugin"), "following")
        assert made
        return aged(Path(made).parent, days) / Path(made).name

    return make


def aged(path: Path, days: float) -> Path:
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def mapped(session_id: str = U, unused: float = 0) -> dict[str, dict[str, dict[str, str]]]:
    """The store's mappings: one of a room, last used so many days ago."""
    used = times.timestamp(int((time.time() - unused * DAY) * 1e9)).decode()
    return {"r": {"claude": {"uuid": session_id, "last_used": used}}}


class TestALink:
    def test_goes_where_its_room_has_no_mapping(self, store: Path, link: Link) -> None:
        link()
        tidying.tidy(str(store), {}, [])
        assert list((store / "plugins").iterdir()) == []

    @pytest.mark.parametrize(("unused", "stays"), [(0, True), (60, True), (91, False)])
    def test_goes_where_its_room_is_long_unused(
        self, store: Path, link: Link, unused: float, stays: bool
    ) -> None:
        made = link()
        tidying.tidy(str(store), mapped(unused=unused), [])
        assert made.exists() == stays

    def test_stays_for_a_month_in_any_case(self, store: Path, link: Link) -> None:
        made = link(days=29)
        tidying.tidy(str(store), {}, [])
        assert made.exists()

    def test_stays_while_a_process_was_given_it(self, store: Path, link: Link) -> None:
        made, other = link(), link(b"other")
        program = [sys.executable, "-ISc", "print(flush=True); input()", "--plugin-dir", str(made)]
        with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout
            process.stdout.readline()
            tidying.tidy(str(store), {}, [])
            assert (made.exists(), other.exists()) == (True, False)
            process.communicate(b"\n")
        tidying.tidy(str(store), {}, [])
        assert not made.exists()

    def test_stays_while_a_job_in_the_background_was_given_it(
        self, store: Path, link: Link, tmp_path: Path
    ) -> None:
        made = link()
        job = tmp_path / "claude" / "jobs" / "00000000"
        job.mkdir(parents=True)
        state = {"respawnFlags": ["--plugin-dir", str(made)]}
        (job / "state.json").write_text(json.dumps(state))
        tidying.tidy(str(store), {}, [])
        assert made.exists()


@pytest.mark.parametrize(
    ("days", "mapping", "there", "stays"),
    [
        (31, {}, [], False),
        (29, {}, [], True),
        (31, mapped(V), [], True),
        (31, mapped(V), [V], False),
        (31, mapped(U), [], False),
    ],
    ids=["no head", "new", "a head without a word", "a head that is there", "another head"],
)
def test_a_note_of_what_was_left_stays_while_it_may_be_resumed(
    store: Path,
    days: float,
    mapping: dict[str, dict[str, dict[str, str]]],
    there: list[str],
    stays: bool,
) -> None:
    markers.note_left(str(store), V, U)
    aged(store / "left" / V, days)
    tidying.tidy(str(store), mapping, there)
    assert markers.exists(str(store), markers.LEFT, V) == stays


@pytest.mark.parametrize("there", [[V], []], ids=["there", "gone"])
def test_a_marker_of_a_fork_stays_while_the_fork_is_there(store: Path, there: list[str]) -> None:
    fork_marker.begin(str(store), Marker(V, U))
    for path in ("forks/" + V, f"forked/{U}/{V}", "forked/" + U):
        aged(store / path, 31)
    tidying.tidy(str(store), {}, there)
    assert (fork_marker.of_fork(str(store), V) is not None) == bool(there)
    assert markers.has_forks(str(store), U) == bool(there)


def test_a_note_of_an_unheard_claude_stays_while_that_lives(store: Path) -> None:
    (store / "unheard").mkdir()
    start = Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    (store / "unheard" / U).write_text(f"{os.getpid()} {start}")
    (store / "unheard" / V).write_text(f"{os.getpid()} 1")
    for name in (U, V):
        aged(store / "unheard" / name, 31)
    tidying.tidy(str(store), {}, [])
    assert os.listdir(store / "unheard") == [U]
