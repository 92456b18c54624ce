"""Where something is to do: the Python beside the launcher, and claude where that is broken."""

import os
import resource
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.compiled import (
    BY_PYTHON,
    EMERGENCY,
    write_installation,
)
from tests.support.recorder import Text, World, write_program

# What callers look for on stderr, and act on (help developing, "Warnings").
SEARCHED = [
    *("session id", "already in use", "not found", "invalid", "no conversation", "rate limit"),
    *("overloaded", "limit reached", "usage limit", "quota", "429", "wait ", "retry in "),
]
THROUGH_PYTHON = [BY_PYTHON, b"-p"]


# It needs terabytes of addresses.
without_sanitizer = pytest.mark.parametrize("compiled_launcher", ["as built"], indirect=True)


@pytest.fixture(autouse=True)
def in_a_room(world: World) -> None:
    world.environment["NSED_ROOM_ID"] = "r"


@pytest.fixture
def beside(world: World) -> Path:
    """The file beside the launcher."""
    return world.launcher.parent / ".claude-shim"


def warned(world: World, *args: Text, **how: object) -> str:
    """Run; the one warning, and claude ran as the caller asked."""
    run = world.run("-p", *args, **how)
    assert run.exit_code == 0
    assert world.claude.calls[-1].args == [b"-p", *args]
    assert not [words for words in SEARCHED if words in run.warning.lower()]
    assert "running claude without session management" in run.warning
    return run.warning


# What is to do


@pytest.mark.parametrize(
    ("env", "something"),
    [
        ({}, False),
        ({"NSED_ROOM_ID": "r"}, True),
        ({"NSED_SESSION_ID": "r"}, True),
        ({"NSED_AGENT_NAME": "a"}, True),
        ({"OPENCODE": "1"}, True),
        ({"NSED_ROOM_ID": b"\xff"}, True),
        ({"NSED_ROOM_ID": "0"}, True),
        ({"OPENCODE": "2"}, False),
        ({"OPENCODE": "11"}, False),
        ({"NSED_ROOM_ID": "", "NSED_SESSION_ID": "", "NSED_AGENT_NAME": "", "OPENCODE": ""}, False),
        ({"NSED_ROOM_ID": "r", "NSED_SHIM_DISABLE": "1"}, False),
        ({"NSED_ROOM_ID": "r", "NSED_SHIM_DISABLE": "no"}, False),
        ({"NSED_ROOM_ID": "r", "NSED_SHIM_DISABLE": "0"}, True),
        ({"NSED_ROOM_ID": "r", "NSED_SHIM_DISABLE": ""}, True),
        ({"XNSED_ROOM_ID": "r", "NSED_ROOM_IDX": "r"}, False),
    ],
    ids=str,
)
def test_python_is_run_where_a_room_or_an_agent_may_be(
    world: World, env: Mapping[str, Text], something: bool
) -> None:
    del world.environment["NSED_ROOM_ID"]
    assert world.call("-p", env=env).args == (THROUGH_PYTHON if something else [b"-p"])


@pytest.mark.parametrize("name", ["link", "copy", "relative"])
def test_a_link_to_the_launcher_is_the_launcher_and_a_copy_lacks_what_is_beside_it(
    world: World, name: str
) -> None:
    other = world.root / "other" / "claude"
    other.parent.mkdir()
    if name == "copy":
        shutil.copy(world.launcher, other)
        assert str(other.parent / ".claude-shim") in warned(world, program=other)
        return
    other.symlink_to(world.launcher)
    if name == "relative":
        other = Path("../other/claude")
    assert world.call("-p", program=other).args == THROUGH_PYTHON


@pytest.mark.parametrize("debug", ["1", "0", None])
def test_each_decision_is_explained_where_that_is_asked_for(
    world: World, debug: str | None
) -> None:
    run = world.run("-p", env={"NSED_SHIM_DEBUG": debug})
    assert bool(run.lines) == (debug == "1")
    assert all(line.startswith("claude-shim: debug: ") for line in run.lines)


# The file beside the launcher


def missing(beside: Path) -> None:
    beside.unlink()


def empty(beside: Path) -> None:
    beside.write_bytes(b"")


def random_bytes(beside: Path) -> None:
    beside.write_bytes(os.urandom(5000))


def too_long(beside: Path) -> None:
    beside.write_text(beside.read_text() + beside.read_text().splitlines()[-1] * 1000 + "\n")


def cut(beside: Path) -> None:
    beside.write_bytes(beside.read_bytes()[:-1])


def fifo(beside: Path) -> None:
    beside.unlink()
    os.mkfifo(beside, 0o600)


def directory(beside: Path) -> None:
    beside.unlink()
    beside.mkdir()


def device(beside: Path) -> None:
    beside.unlink()
    beside.symlink_to("/dev/zero")


def links_that_go_round(beside: Path) -> None:
    beside.unlink()
    beside.symlink_to(beside)


def anybody_can_write(beside: Path) -> None:
    beside.chmod(0o602)


def the_group_can_write(beside: Path) -> None:
    beside.chmod(0o620)


def somebody_elses(beside: Path) -> None:
    if os.getuid():
        pytest.skip("only root can give a file away")
    os.chown(beside, 12345, 12345)


@pytest.mark.parametrize(
    "sabotage",
    [
        *(missing, empty, random_bytes, too_long, cut, fifo, directory, device),
        *(links_that_go_round, anybody_can_write, the_group_can_write, somebody_elses),
    ],
    ids=lambda sabotage: sabotage.__name__,
)
def test_with_nothing_of_use_beside_it_claude_runs_with_one_warning(
    world: World, beside: Path, sabotage: Callable[[Path], None]
) -> None:
    sabotage(beside)
    warning = warned(world)
    assert str(beside) in warning
    assert "install claude-shim again" in warning
    assert f"delete {world.launcher}" in warning


def test_the_launchers_owner_may_own_what_is_beside_it(world: World, beside: Path) -> None:
    somebody_elses(beside)
    os.chown(world.launcher, 12345, 12345)
    assert world.call("-p").args == THROUGH_PYTHON


def test_where_nothing_is_to_do_it_is_not_looked_at(world: World, beside: Path) -> None:
    beside.unlink()
    assert world.call("-p", env={"NSED_ROOM_ID": None}).args == [b"-p"]


LINE = st.sampled_from(
    [
        *("claude-shim 1", "claude-shim 2", "claude-shim", "", " ", "file", "file ", "python "),
        *("python {python}", "program {program}", "file {python}", "file 0 0 /", "file 1 2 a"),
        *("file {python} ", "file 99999999999999999999 1 /bin/sh", "file -1 1 /bin/sh", "x y"),
        *("\x00", "\xff" * 40, "file 1 1 " + "/x" * 3000, "program {program}\r", "file 1  1 /"),
        *("python /bin/false", "file 1 1/bin/sh", "file 0x1 1 /bin/sh", "file 1 1 ", "file 1 1"),
    ]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(LINE, max_size=6),
    start=st.integers(0, 3),
    end=st.sampled_from(["\n", "", "\n\n", "\0"]),
)
@example(lines=[], start=3, end="")
def test_whatever_lines_are_in_it_claude_runs(
    world: World, lines: list[str], start: int, end: str
) -> None:
    beside = write_installation(world.launcher.parent)
    good_lines = beside.read_text().splitlines()
    good = {key: value for key, _, value in (line.partition(" ") for line in good_lines)}
    content = "\n".join([*good_lines[:start], *(line.format(**good) for line in lines)]) + end
    beside.write_bytes(content.encode("latin-1"))

    run = world.run("-p")

    assert run.exit_code == 0
    assert not run.lines or "without session management" in run.warning
    assert world.claude.calls[-1].args == ([b"-p"] if run.lines else THROUGH_PYTHON)


@pytest.mark.parametrize(
    "line",
    [
        *("", "file", "file ", "file 1 1", "file 1 1 ", "file 1 1/bin/sh", "file 1 1 bin/sh"),
        *("file 0x1 1 /bin/sh", "python 1 1 /bin/sh", "x 1 1 /bin/sh", "file 1 1 /bin/sh\0"),
    ],
)
def test_a_line_of_another_form_is_one_warning(world: World, beside: Path, line: str) -> None:
    with beside.open("a") as file:
        file.write(f"{line}\n")
    assert str(beside) in warned(world)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200), at=st.integers(0, 200), kept=st.integers(0, 200))
def test_whatever_bytes_are_changed_in_it_claude_runs(
    world: World, content: bytes, at: int, kept: int
) -> None:
    beside = write_installation(world.launcher.parent)
    good = beside.read_bytes()
    beside.write_bytes(good[:at] + content + good[at + kept :])

    run = world.run("-p")

    assert run.exit_code == 0
    assert not run.lines or run.warning
    assert world.claude.calls[-1].args[-1:] == [b"-p"]


# The Python it names


def gone(python: Path) -> None:
    python.unlink()


def a_directory(python: Path) -> None:
    python.unlink()
    python.mkdir()


def without_the_run_bit(python: Path) -> None:
    python.unlink()
    write_program(python, "").chmod(0o644)


def an_empty_file(python: Path) -> None:
    python.unlink()
    write_program(python, "")


def for_another_machine(python: Path) -> None:
    python.unlink()
    python.write_bytes(b"\x7fELF" + bytes(1000))
    python.chmod(0o755)


def another_program(python: Path) -> None:
    python.unlink()
    python.symlink_to("/bin/true")


def without_its_library(python: Path) -> None:
    python.unlink()
    write_program(python, "#!/bin/sh\necho error while loading shared libraries >&2\nexit 127\n")


def one_that_only_says_something(python: Path) -> None:
    python.unlink()
    write_program(python, "#!/bin/sh\necho ready\n")


def one_that_is_killed(python: Path) -> None:
    python.unlink()
    write_program(python, "#!/bin/sh\nkill -9 $$\n")


@pytest.fixture
def python(world: World) -> Path:
    """The Python that the launcher was installed with."""
    python = world.root / "python"
    python.symlink_to(sys.executable)
    write_installation(world.launcher.parent, python)
    assert world.call("-p").args == THROUGH_PYTHON
    return python


@pytest.mark.parametrize(
    "sabotage",
    [
        *(gone, a_directory, without_the_run_bit, an_empty_file, for_another_machine),
        *(another_program, without_its_library, one_that_only_says_something, one_that_is_killed),
    ],
    ids=lambda sabotage: sabotage.__name__,
)
def test_where_python_cannot_be_run_claude_is_with_one_warning(
    world: World, python: Path, sabotage: Callable[[Path], None]
) -> None:
    sabotage(python)
    warning = warned(world)
    assert str(python) in warning
    assert "install claude-shim again" in warning


def test_a_trusted_python_that_the_system_refuses_to_run_is_one_warning(
    world: World, python: Path
) -> None:
    python.unlink()
    write_program(python, "#!/no/such/interpreter\n")
    write_installation(world.launcher.parent, python)
    assert f"{python} cannot be run" in warned(world)


@pytest.mark.parametrize("text", [None, "", "this is no Python", "import posix; posix._exit(0)"])
def test_where_its_program_is_gone_or_broken_claude_is_run(world: World, text: str | None) -> None:
    program = world.launcher.parent / ".claude-shim-program.py"
    program.unlink()
    if text is not None:
        program.write_text(text)
    assert "does not start" in warned(world)


def test_a_python_that_changed_and_still_starts_is_used(world: World, python: Path) -> None:
    python.unlink()
    write_program(python, f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    assert world.call("-p").args == THROUGH_PYTHON


@pytest.mark.parametrize("sabotage", [Path.unlink, lambda path: path.write_text("x")])
def test_what_python_needs_to_start_is_looked_at_too(
    world: World, python: Path, sabotage: Callable[[Path], None]
) -> None:
    library = world.root / "libpython.so"
    library.write_text("")
    write_program(world.root / "broken", f"#!/bin/sh\n[ -s {library} ] || exit 1\nexit 1\n")
    python.unlink()
    python.symlink_to(world.root / "broken")
    write_installation(world.launcher.parent, python, files=[python, library])
    sabotage(library)
    assert "does not start" in warned(world)


@without_sanitizer
def test_where_python_has_too_little_memory_claude_is_run(world: World) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (9 << 20, resource.RLIM_INFINITY))

    assert "does not start" in warned(world, before_exec=limit)


@without_sanitizer
def test_where_memory_is_limited_and_enough_python_is_run(world: World) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (500 << 20, resource.RLIM_INFINITY))

    assert world.call("-p", before_exec=limit).args == THROUGH_PYTHON


# Python could do nothing


def test_where_python_can_do_nothing_it_says_why_and_claude_runs(world: World) -> None:
    program = EMERGENCY.format(b"ModuleNotFoundError: No module named 'shim'")
    write_installation(world.launcher.parent, program=program)
    warning = warned(world, b"two words", b"", b"\xff")
    assert "No module named 'shim'; to fix it" in warning
    assert f"delete {world.launcher}" in warning


@pytest.mark.parametrize("searched", [*SEARCHED, "Session ID", "INVALID", "wait 30", "retry in 5"])
def test_no_warning_says_what_callers_search_for(world: World, searched: str) -> None:
    program = EMERGENCY.format(f"before {searched}{searched} behind\n".encode())
    write_installation(world.launcher.parent, program=program)
    assert "before ..." in warned(world)


@pytest.mark.parametrize(
    "problem", [b"x" * 10_000, b"a\nb\rc\xc2\x85d\xe2\x80\xa8e\x1b[1m", b"%s%n%d", b"\xff\xe2\x80"]
)
def test_a_warning_is_one_line_of_any_text(world: World, problem: bytes) -> None:
    write_installation(world.launcher.parent, program=EMERGENCY.format(problem))
    warning = warned(world)
    assert len(warning) < 4096
    assert f"delete {world.launcher}" in warning


@pytest.mark.parametrize("words", [[], ["x"], ["x", "P", "", "/bin/true"]], ids=len)
def test_too_few_words_are_no_emergency(world: World, words: list[str]) -> None:
    link = world.root / "claude-shim-emergency"
    link.symlink_to(world.launcher)
    assert world.call(*words, program=link).args[1:] == [word.encode() for word in words]


def _closed() -> None:
    os.close(2)


def _full() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 2)


def _nobody_listens() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 2)


def _as_long_as_it_may_get() -> None:
    file = os.open("full", os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 2)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))


@pytest.mark.parametrize("stderr", [_closed, _full, _nobody_listens, _as_long_as_it_may_get])
def test_a_warning_that_cannot_be_written_is_no_obstacle(
    world: World, beside: Path, stderr: Callable[[], None]
) -> None:
    beside.unlink()
    world.claude.then("exit 42")
    run = world.run("-p", before_exec=stderr)
    assert (run.exit_code, run.stdout, run.stderr) == (42, b"", b"")
    assert world.claude.calls[0].args == [b"-p"]
