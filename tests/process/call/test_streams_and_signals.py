"""Exit codes, signals, stdin, a terminal and long argument lists: as without the shim."""

import bisect
import errno
import fcntl
import os
import signal
import subprocess

import pexpect
import psutil
import pytest

from tests.support.recorder import PATIENCE, Recorder, World, derived, read_line, wait_until

U = derived("a room").encode()
SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
# What the kernel allows one argument (MAX_ARG_STRLEN), less a little.
LONGEST_ARGUMENT = 131_000


@pytest.fixture(params=["", "a room"], ids=["no room", "a room"])
def room(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def in_the_room(world: World, room: str) -> None:
    if room:
        world.environment["NSED_ROOM_ID"] = room


def opened_by(pid: int) -> list[str]:
    return [file.path for file in psutil.Process(pid).open_files()]


def ours(room: str) -> list[bytes]:
    """The flags of a first use."""
    return [b"--session-id", U] if room else []


@pytest.mark.parametrize("code", [0, 1, 42, 126, 127, 255])
def test_the_exit_code_is_claudes(world: World, code: int) -> None:
    world.claude.then(f"exit {code}")
    assert world.run("-p").exit_code == code


@pytest.mark.parametrize("number", [*SIGNALS, signal.SIGKILL, signal.SIGPIPE], ids=lambda s: s.name)
def test_a_claude_killed_by_a_signal_is_seen_as_such(world: World, number: signal.Signals) -> None:
    world.claude.then(f"kill -{number} $$")
    assert world.run("-p").exit_code == -number


@pytest.mark.parametrize("number", SIGNALS, ids=lambda s: s.name)
def test_a_signal_sent_to_the_process_reaches_claude(world: World, number: signal.Signals) -> None:
    world.claude.then(f"trap 'echo caught; exit 41' {number.name[3:]}; echo ready; read -r line")
    with world.start("-p", stdin=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert read_line(process.stdout) == b"ready\n"

        process.send_signal(number)

        assert read_line(process.stdout) == b"caught\n"
        assert process.wait(PATIENCE) == 41
        assert process.pid == world.claude.calls[0].pid


@pytest.mark.parametrize("number", SIGNALS, ids=lambda s: s.name)
def test_a_signal_that_claude_does_not_handle_ends_it(world: World, number: signal.Signals) -> None:
    world.claude.then("echo ready; read -r line")
    with world.start("-p", stdin=subprocess.PIPE, bufsize=0) as process:
        assert process.stdout is not None
        assert read_line(process.stdout) == b"ready\n"

        process.send_signal(number)

        assert process.wait(PATIENCE) == -number


@pytest.mark.parametrize("room", ["a room"], indirect=True)
@pytest.mark.parametrize("number", SIGNALS, ids=lambda s: s.name)
def test_a_signal_ends_a_shim_that_waits_for_the_store(
    world: World, room: str, number: signal.Signals
) -> None:
    world.map(room, "claude", U.decode())
    with open(world.store) as store:
        fcntl.flock(store, fcntl.LOCK_EX)
        with world.start("-p") as process:
            wait_until(lambda: str(world.store) in opened_by(process.pid))

            process.send_signal(number)

            assert process.wait(PATIENCE) == -number
            assert process.stderr is not None
            assert process.stderr.read() == b""


def test_three_megabytes_on_stdin_pass(world: World) -> None:
    prompt = os.urandom(3_000_000)
    world.claude.then("exec cat")
    assert world.run("-p", input=prompt).stdout == prompt


def test_a_stream_on_stdin_is_answered_line_by_line(world: World) -> None:
    world.claude.then('while read -r line; do echo "heard $line"; done; echo end')
    args = ("--input-format", "stream-json", "--output-format", "stream-json")
    with world.start(*args, stdin=subprocess.PIPE, bufsize=0) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for turn in (b"one\n", b"two\n"):
            process.stdin.write(turn)
            assert read_line(process.stdout) == b"heard " + turn
        process.stdin.close()
        assert read_line(process.stdout) == b"end\n"


def test_a_closed_stdin_is_closed_for_claude(world: World, room: str) -> None:
    world.claude.then("if read -r line <&0; then echo open; else echo closed; fi 2>/dev/null")
    run = world.run("-p", "hi", before_exec=lambda: os.close(0))
    assert (run.exit_code, run.stdout, run.stderr) == (0, b"closed\n", b"")
    assert world.claude.calls[0].args == [*ours(room), b"-p", b"hi"]


def test_a_terminal_is_a_terminal_for_claude(world: World) -> None:
    world.claude.then(
        "trap 'echo interrupted' INT;"
        " for number in 0 1 2; do [ -t $number ] && echo terminal $number; done; stty size;"
        " read -r line; echo heard $line; read -r line; echo over; exit 7"
    )
    child = pexpect.spawn(
        str(world.launcher),
        ["an operand"],
        env=world.environment,
        cwd=str(world.directory),
        dimensions=(33, 77),
        timeout=PATIENCE,
    )
    try:
        child.expect_exact("terminal 0\r\nterminal 1\r\nterminal 2\r\n33 77\r\n")
        child.sendline("hello")
        child.expect_exact("heard hello")
        child.sendintr()
        child.expect_exact("interrupted")
        child.sendline("")  # for a `read` that began behind the signal
        child.expect_exact("over")
        child.expect_exact(pexpect.EOF)
    finally:
        child.close()
    assert child.exitstatus == 7


def test_a_long_argument_passes(world: World, room: str) -> None:
    long = "x" * LONGEST_ARGUMENT
    assert world.call("-p", long).args == [*ours(room), b"-p", long.encode()]


def arguments(size: int) -> list[str]:
    """Arguments of that many bytes."""
    whole, rest = divmod(size, LONGEST_ARGUMENT)
    return ["-p", *["x" * LONGEST_ARGUMENT] * whole, *["y" * rest] * bool(rest)]


def most_that_fits(world: World) -> int:
    """The size of the longest arguments that claude can be run with, without the shim."""

    def is_too_long(size: int) -> bool:
        try:
            world.run(*arguments(size), program=world.claude.path)
        except OSError as problem:
            if problem.errno != errno.E2BIG:
                raise
            return True
        return False

    # Linux allows a quarter of the stack's limit, and never more than 6 MB.
    return bisect.bisect_left(range(7_000_000), True, key=is_too_long) - 1


def test_arguments_near_the_limit_pass(world: World, room: str) -> None:
    args = arguments(most_that_fits(world) - 1000)
    call = world.call(*args)
    assert call.args == [*ours(room), *(arg.encode() for arg in args)]


def test_arguments_that_leave_no_place_for_our_flags_pass_without_them(
    world: World, room: str
) -> None:
    # Claude's path takes more place here than the interpreter's and the launcher's.
    world.claude = Recorder(world.root / ("x" * 250))
    world.path(world.launcher.parent, world.claude.path.parent)
    args = arguments(most_that_fits(world))

    run = world.run(*args)

    assert run.exit_code == 0
    assert world.claude.calls[-1].args == [arg.encode() for arg in args]
    assert world.claude.calls[-1].variable("NSED_AGENT_NAME") is None
    if room:
        assert "without session management" in run.warning
    else:
        assert run.stderr == b""
