"""The checks of doctor that no whole process can be brought into, and their rules."""

import contextlib
import errno
import fcntl
import gzip
import json
import os
import posix
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from shim.base.session_key import SessionKey
from shim.checks import examination, installation, locking, retained, setup, storage, surroundings
from shim.checks.finding import OK, PROBLEM, WARNING, Finding, ok
from shim.checks.setup import Setup
from shim.claude import registry
from shim.locks import contention, record_lock
from shim.retention import pins
from shim.store import plugin_links
from shim.store.store import Store

ID = "e02e610b-76e2-53bd-9543-ea295dd26fc7"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and no variable of ours in the environment."""
    variables = {name: value for name, value in posix.environ.items() if name[:5] != b"NSED_"}
    variables |= {b"HOME": bytes(tmp_path), b"XDG_CONFIG_HOME": bytes(tmp_path / "config")}
    monkeypatch.setattr(posix, "environ", variables)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


@pytest.fixture
def store(home: Path) -> Store:
    """A store with one mapping."""
    store = Store(str(home / ".nsed"))
    store.record("r", "claude", ID)
    return store


def only(findings: Iterator[Finding]) -> Finding:
    (finding,) = findings
    return finding


@pytest.mark.parametrize(
    ("room", "agent", "call"),
    [
        ("r", "claude", "NSED_ROOM_ID=r claude"),
        ("it's", "b c", """NSED_ROOM_ID='it'"'"'s' NSED_AGENT_NAME='b c' claude"""),
        ("", "claude", "NSED_AGENT_NAME=claude claude"),
    ],
)
def test_the_command_that_starts_an_unmanaged_claude_can_be_pasted(
    store: Store, monkeypatch: pytest.MonkeyPatch, room: str, agent: str, call: str
) -> None:
    mapped = "0c9b9d52-0d0a-5f0e-8a44-f2f1c4f6b0aa"
    store.record(room, agent, mapped)
    Path(store.directory, "leases").touch()
    monkeypatch.setattr(registry, "conversations", lambda: {os.getpid(): mapped})
    finding = only(locking.claudes(Setup()))
    assert (finding.fix or "").endswith(f": {call}")


def test_a_live_claude_whose_hooks_are_gone_is_named(store: Store, home: Path) -> None:
    plugin = home / "plugin"
    (plugin / "following").mkdir(parents=True)
    (plugin / "follow").touch(mode=0o755)
    link = plugin_links.ensure(store.directory, SessionKey(b"r", b"b c"), str(plugin), "following")
    assert link is not None
    with _holder_of_the_lock(store, "b c", home / "claude", link):
        assert only(locking.claudes(Setup())).status == OK
        shutil.rmtree(plugin)
        finding = only(locking.claudes(Setup()))
    assert "gone with the claude-shim that started it: a /clear there is not" in finding.found
    assert (finding.fix or "").endswith(": NSED_ROOM_ID=r NSED_AGENT_NAME='b c' claude")


@contextlib.contextmanager
def _holder_of_the_lock(store: Store, agent: str, program: Path, link: str) -> Iterator[None]:
    """A process like a claude that has the lock of an agent of room r, and the plugin."""
    program.write_text(
        "import fcntl, sys\n"
        f"file = open({store.directory + '/leases'!r}, 'w')\n"
        f"fcntl.lockf(file, fcntl.LOCK_EX, 2, {record_lock.key_offset('r', agent)})\n"
        "print(flush=True)\n"
        "sys.stdin.read()\n"
    )
    words = [sys.executable, "-IS", str(program), "--plugin-dir", link]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


# What cannot be had in a test


@pytest.mark.usefixtures("store")
def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage(NamedTuple):
        free: int

    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(free=1_500_000))
    finding = only(storage.disk(Setup()))
    assert finding.status == PROBLEM
    assert "1.5 MB are free" in finding.found


@pytest.mark.usefixtures("store")
def test_another_users_store(monkeypatch: pytest.MonkeyPatch) -> None:
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    finding = only(storage.privacy(Setup()))
    assert finding.status == PROBLEM
    assert "of another user" in finding.found
    assert f"chown -R {user + 1}" in str(finding.fix)


@pytest.mark.usefixtures("store")
def test_a_store_that_can_only_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    found = list(storage.store(Setup()))
    assert [finding.status for finding in found] == [PROBLEM]
    assert "new conversations are not recorded" in found[0].found


def test_nowhere_to_make_a_store(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda _, mode: not mode & os.W_OK)
    finding = only(storage.store(Setup()))
    assert finding.status == PROBLEM
    assert f"{home}/.nsed cannot be made: you cannot write to {home}" in finding.found


@pytest.mark.usefixtures("store")
def test_leases_of_another_user(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    leases = home / ".nsed" / "leases"
    leases.touch()
    monkeypatch.setattr(os, "access", lambda path, _: path != leases)
    finding = next(locking.locks(Setup()))
    assert (finding.status, finding.found.partition(":")[0]) == (
        PROBLEM,
        f"{leases} cannot be written",
    )
    assert (finding.fix or "").startswith(f"sudo chown {os.geteuid()} {leases}, or ")


@pytest.mark.usefixtures("store")
def test_a_directory_in_the_place_of_the_file_of_locks(home: Path) -> None:
    (home / ".nsed" / "leases").mkdir()
    finding = next(locking.locks(Setup()))
    assert finding.status == PROBLEM
    assert finding.found.startswith(f"{home}/.nsed/leases is no regular file")


@pytest.mark.usefixtures("store")
def test_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    finding = next(locking.locks(Setup()))
    assert (finding.status, finding.found.partition(":")[0]) == (
        PROBLEM,
        "only 16 files may be open at once",
    )


def no_flock(_file: int, _how: int) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


def flock_that_does_nothing(_file: int, _how: int) -> None:
    return


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("flock", "found"),
    [(no_flock, "No locks available"), (flock_that_does_nothing, "it excludes no other process")],
)
def test_a_filesystem_without_locks(
    monkeypatch: pytest.MonkeyPatch, flock: Callable[[int, int], None], found: str
) -> None:
    monkeypatch.setattr(fcntl, "flock", flock)
    finding = only(locking.locks(Setup()))
    assert finding.status == PROBLEM
    assert found in finding.found
    assert "NSED_SESSION_DIR" in str(finding.fix)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("behind", "status"),
    [(time.time(), PROBLEM), (0, OK), (3600, PROBLEM)],
    ids=["at the epoch", "right", "by an hour"],
)
def test_a_clock_that_is_behind(
    monkeypatch: pytest.MonkeyPatch, behind: float, status: str
) -> None:
    now = time.time() - behind
    monkeypatch.setattr(time, "time", lambda: now)
    assert only(storage.clock(Setup())).status == status


# Checks that go wrong


def run(monkeypatch: pytest.MonkeyPatch, **them: Callable[[Setup], Iterator[Finding]]) -> Any:
    monkeypatch.setattr(examination, "CHECKS", them)
    return list(examination.examine(Setup()))


def test_a_check_that_fails_is_a_finding_and_stops_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_: Setup) -> Iterator[Finding]:
        yield ok("so far")
        raise OSError(errno.EIO, "Input/output error", "/dev/sick")

    def works(_: Setup) -> Iterator[Finding]:
        yield ok("well")

    first, second, third = run(monkeypatch, fails=fails, works=works)

    assert first == ("fails", ok("so far"))
    assert second[1].status == PROBLEM
    assert "Input/output error: '/dev/sick'" in second[1].found
    assert third == ("works", ok("well"))


def test_a_check_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def hangs(_: Setup) -> Iterator[Finding]:
        reading, _writing = os.pipe()
        os.read(reading, 1)
        yield ok("never")

    monkeypatch.setattr(examination, "_TIMEOUT", 0.05)
    ((_, finding),) = run(monkeypatch, hangs=hangs)
    assert finding.status == PROBLEM
    assert "longer than 0.05 s" in finding.found


# The rules


def test_a_document_that_is_being_written_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = (
        "import fcntl, sys; path = sys.argv[1]; file = open(path, 'r+');"
        " whole = file.read(); fcntl.flock(file, fcntl.LOCK_EX);"
        " open(path, 'r+').write('!'); print(flush=True); sys.stdin.readline();"
        " open(path, 'r+').write(whole)"
    )
    writer = subprocess.Popen(
        [sys.executable, "-c", program, store.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert writer.stdout
    writer.stdout.readline()
    # It gets done while it is waited for.
    monkeypatch.setattr(setup.time, "sleep", lambda _: writer.communicate(b"\n"))

    contents = setup.read(Path(store.path))

    assert writer.returncode == 0
    assert list(contents.mappings) == ["r"]


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("alias claude='~/.claude/local/claude'", PROBLEM),
        ("  alias claude=/opt/claude/bin/claude  # mine", PROBLEM),
        ("alias claude 'env A=b /opt/claude'", OK),
        ("alias claude 'A=b /opt/claude'", PROBLEM),
        ("alias claude='claude --dangerously-skip-permissions'", OK),
        ("alias claude=$HOME/launcher/claude", OK),
        ("# alias claude=/opt/claude", OK),
        ("alias claudette=/opt/claude", OK),
        ("alias claude='/opt/unfinished", OK),
        ("claude() { command claude; }", WARNING),
        ("function claude --wraps claude", WARNING),
        ("claude --version", OK),
    ],
)
def test_what_start_up_files_do_to_claude(home: Path, line: str, status: str) -> None:
    (home / "launcher").mkdir()
    (home / "launcher" / "claude").write_text("#!/bin/sh\n# claude-shim launcher\n")
    (home / ".bashrc").write_text(f"{line}\n")
    assert only(installation.shell(Setup())).status == status


VALUES = [
    "",
    "0",
    "wait",
    "fork",
    "fail",
    "WAIT",
    "600",
    "0.5",
    "-1",
    "1e3",
    "nan",
    "inf",
    "1h",
    "x",
]
READ: Mapping[str, Callable[[], object]] = {
    "NSED_ON_BUSY": contention._on_busy,
    "NSED_BUSY_TIMEOUT": contention._timeout,
    "NSED_KEEP_DAYS": pins.days,
}


@pytest.mark.parametrize("value", VALUES)
@pytest.mark.parametrize("name", READ)
def test_a_variable_is_a_fault_exactly_where_the_wrapper_warns_of_it(
    name: str, value: str, capfd: pytest.CaptureFixture[str]
) -> None:
    posix.environ[name.encode()] = value.encode()
    READ[name]()
    warned = f"{name}={value} is no" in capfd.readouterr().err

    finding = only(surroundings.variables(Setup()))

    assert (finding.status == PROBLEM) == warned
    assert not warned or f"{name}={value} is no" in finding.found


# What claude's clean-up means


def transcript(home: Path, days: float) -> Path:
    """The conversation of the one mapping, idle for so many days."""
    path = home / ".claude" / "projects" / "-work" / f"{ID}.jsonl"
    path.parent.mkdir(parents=True)
    path.touch()
    written = time.time() - days * 86400
    os.utime(path, (written, written))
    return path


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    ("days", "period", "status", "found"),
    [
        (
            1,
            None,
            OK,
            "pinned, and safe from that: 0 of 1 conversation;"
            " the next call or the daily housekeeping pins the others",
        ),
        (25, None, WARNING, "of 1 conversation, 0 can be deleted any time, and 1 within 7 days"),
        (31, None, WARNING, "of 1 conversation, 1 can be deleted any time, and 0 within 7 days"),
        (31, 365, OK, "idle for 365 days"),
        (2, 1, WARNING, "idle for 1 day: of 1 conversation, 1 can be deleted any time"),
    ],
)
def test_conversations_that_are_not_kept_and_near_their_end(
    home: Path, days: float, period: int | None, status: str, found: str
) -> None:
    transcript(home, days)
    if period is not None:
        settings = {"cleanupPeriodDays": period}
        (home / ".claude" / "settings.json").write_text(json.dumps(settings))

    finding = only(retained.clean_up(Setup()))

    assert finding.status == status
    assert found in finding.found


def test_conversations_that_are_kept_are_safe(home: Path, store: Store) -> None:
    kept = Path(pins.path(store.directory, ID))
    kept.parent.mkdir()
    os.link(transcript(home, days=31), kept)
    finding = only(retained.clean_up(Setup()))
    assert finding == ok(
        "claude deletes transcripts idle for 30 days; pinned, and safe from that:"
        " 1 of 1 conversation"
    )


def test_a_transcript_that_was_cut_and_one_with_a_twin_are_reported(
    home: Path, store: Store
) -> None:
    path = transcript(home, days=1)
    kept = Path(pins.path(store.directory, ID))
    kept.parent.mkdir()
    kept.write_text('{"type":"user","message":{},"uuid":"another"}\n')
    with gzip.open(f"{kept}.gz", "wb") as copy:
        copy.write(path.read_bytes() + b"more")
    _, cut, twin = retained.clean_up(Setup())
    assert (cut.status, twin.status) == ("warning", "warning")
    assert "1 transcript lost a part" in cut.found
    assert "1 conversation of this config directory shares its id" in twin.found


def test_a_transcript_that_another_file_replaced_is_not_called_safe(
    home: Path, store: Store
) -> None:
    path = transcript(home, days=1)
    kept = Path(pins.path(store.directory, ID))
    kept.parent.mkdir()
    os.link(path, kept)
    shutil.copy2(path, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)
    safe, replaced = retained.clean_up(Setup())
    assert "pinned, and safe from that: 0 of 1 conversation; the next call" in safe.found
    assert replaced.status == "warning"
    assert replaced.found.startswith("1 transcript was replaced since it was pinned")


def test_conversations_under_another_config_directory_are_reported(
    home: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pins.note(pins.origin_of(pins.path(store.directory, ID)), str(transcript(home, days=1)))
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", bytes(home / "another"))
    _, told = retained.clean_up(Setup())
    assert told == ok(f"1 conversation in another config directory, {home}/.claude")


@pytest.mark.usefixtures("store")
def test_where_there_can_be_no_links_there_are_copies(home: Path) -> None:
    transcript(home, days=1)
    elsewhere = Setup()
    assert elsewhere.contents.is_there
    elsewhere.store = Path("/dev")
    finding = only(retained.clean_up(elsewhere))
    assert "as copies: the store is on another filesystem" in finding.found
