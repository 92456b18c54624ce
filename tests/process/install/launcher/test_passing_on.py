"""What reaches claude through the launcher, by every way, is what reaches it without."""

import bisect
import errno
import os
import resource
import shutil
import signal
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shim.claude import spec_lookup
from tests.support.compiled import (
    EMERGENCY,
    Call,
    CompiledRecorder,
    distrust_python,
    write_installation,
)
from tests.support.recorder import Run, Text, World, derived, raw_exec

ROOM = "a room"
U = derived(ROOM)
# Stands for the entry that names the process.
PID = b"NSED_SHIM_PID="
# What a claude of a room is told, beyond the room that the caller gave it.
EXPORTS = [
    b"CLAUDE_CODE_EAGER_FLUSH=1",
    b"NSED_AGENT_NAME=claude",
    b"NSED_SHIM_AGENT=claude",
    PID,
    b"NSED_SHIM_ROOM=" + ROOM.encode(),
]
ODD_ARGS: list[Text] = ["-p", "", "two words", "line\nend", "'\"$`\\", "é🙂", b"\xff\xfe", b"\x8f"]
# What the kernel allows one argument (MAX_ARG_STRLEN), less a little.
LONGEST_ARGUMENT = 131_000


class Way:
    """One way through the launcher, and a check that what reaches claude by it is as without.

    But for what the wrapper adds to a call with a room.
    """

    def __init__(
        self, world: World, recorder: CompiledRecorder, launcher_path: Path, name: str
    ) -> None:
        self.world = world
        self.recorder = recorder
        self.beside = world.launcher.parent
        self.variables: dict[str, Text] = {}
        self.flags: list[bytes] = []
        self.exports: list[bytes] = []
        self.warns = name == "broken"
        if name != "nothing to do":
            self.variables["NSED_ROOM_ID"] = ROOM
        if name == "switched off":
            self.variables["NSED_SHIM_DISABLE"] = "1"
        if name == "broken":
            (self.beside / ".claude-shim").unlink()
        if name == "emergency":
            write_installation(self.beside, program=EMERGENCY.format(b"one line"))
            self.warns = True
        if name in ("first use", "known key"):
            shutil.copy(launcher_path.with_name(".claude-shim"), self.beside)
            self.flags = [b"--session-id", U.encode()]
            self.exports = EXPORTS
        if name == "known key":
            world.map(ROOM, "claude", U)
            world.transcript(U)
            self.flags[0] = b"--resume"
            spec_lookup.cli_spec_of(
                str(recorder.path), str(world.store.parent)
            )  # asked for its options once

    def check(self, *args: Text, env: Mapping[str, Text] | None = None, **how: Any) -> Call:
        env = {**self.variables, **(env or {})}
        plain = self._run(*args, env=env, program=self.recorder.path, **how)[0]
        call, run = self._run(*args, env=env, **how)
        if self.warns:
            assert not run.stderr or run.warning
        else:
            assert run.stderr == b""
        self.compare(call, plain)
        return call

    def compare(self, call: Call, plain: Call) -> None:
        if self.flags:
            self._take_away_what_is_added(call)
        assert call.argv[1:] == plain.argv[1:]
        plain.argv = call.argv
        assert vars(call) == vars(plain)

    def _take_away_what_is_added(self, call: Call) -> None:
        flag, conversation = call.argv[1:3]
        assert flag == self.flags[0]
        # From another directory, a conversation is resumed by its transcript's path.
        assert os.path.basename(conversation).removesuffix(b".jsonl") == self.flags[1]
        del call.argv[1:3]
        rest = len(call.environment) - len(self.exports)
        added = [PID if entry.startswith(PID) else entry for entry in call.environment[rest:]]
        assert sorted(added) == self.exports
        del call.environment[rest:]
        locks = [n for n, where in call.descriptors.items() if where.endswith(b"/leases")]
        # The lock of a room is far from the descriptors a caller hands down.
        assert len(locks) == 1
        assert all(call.descriptors.pop(number) and int(number) >= 100 for number in locks)

    def run_raw(self, program: Path, name: bytes, args: list[bytes], entries: list[bytes]) -> Call:
        """Run with arguments and entries that Python would refuse to hand over."""
        return self._run(before_exec=raw_exec(program, args, entries, name))[0]

    def _run(self, *args: Text, **how: Any) -> tuple[Call, Run]:
        run = self.world.run(*args, **how)
        assert run.exit_code == CompiledRecorder.exit_code, run.stderr
        (call,) = self.recorder.calls()
        return call, run


@pytest.fixture(params=["nothing to do", "switched off", "known key", "emergency", "broken"])
def way(
    request: pytest.FixtureRequest, world: World, recorder: CompiledRecorder, launcher_path: Path
) -> Way:
    return Way(world, recorder, launcher_path, request.param)


@pytest.mark.parametrize(
    "locale",
    [
        {},
        {"LANG": "C"},
        {"LC_ALL": "C"},
        {"LC_ALL": "C.UTF-8"},
        {"LC_ALL": "", "LANG": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "POSIX", "LANG": "C.UTF-8"},
        {"LC_CTYPE": "C.UTF-8", "LC_ALL": "C"},
        {"LC_CTYPE": ""},
        {"LC_CTYPE": b"\xff"},
        {"LC_CTYPE": "xx_YY.made-up"},
    ],
    ids=str,
)
def test_arguments_and_environment_pass_under_any_locale(way: Way, locale: dict[str, Text]) -> None:
    way.check(*ODD_ARGS, env={**locale, "BYTES": b"\xff\xa4"})


def test_arguments_and_environment_pass_under_a_locale_that_is_not_utf_8(
    way: Way, japanese: Mapping[str, Text]
) -> None:
    way.check(*ODD_ARGS, b"\xa4\xa2\x8e\xb1", env={**japanese, "BYTES": b"\xff\xa4\xa2\x8f"})


@pytest.mark.parametrize("args", [[], [""], ["--"], ["-"], ["--", "-p"], ["-X", "-E"]], ids=repr)
def test_odd_command_lines_pass(way: Way, args: list[Text]) -> None:
    way.check(*args)


ENVIRONMENTS = [
    [b"TWICE=1", b"TWICE=2"],
    [b"LC_CTYPE=C", b"LC_CTYPE=xx", b"LC_CTYPE"],
    [b"LC_CTYPE=\xff\xfe", b"LANG=C"],
    [b"no equals sign", b""],
    [b"=hidden", b"EMPTY=", b"A=B=C"],
    [b"odd name!=1", b"\xff=\xff", b"LINE=a\nb", b"BASH_FUNC_m%%=() { :; }", b"INPUT_X-Y=1"],
    [b"PYTHONHOME=/nowhere", b"PYTHONINSPECT=1", b"PYTHONUTF8=0", b"PYTHONCOERCECLOCALE=warn"],
    [b"PYTHONVERBOSE=1", b"PYTHONWARNINGS=error", b"PYTHONIOENCODING=utf-16", b"LANG=C"],
    [b"PYTHONMALLOC=debug", b"PYTHONPYCACHEPREFIX=/nowhere", b"PYTHONSTARTUP=/nowhere"],
    [b"NSED_SHIM_CHAIN_2=x", b"NSED_SHIM_CHAI=x"],
]


def pass_raw(way: Way, name: bytes, args: list[bytes], entries: list[bytes]) -> None:
    own = {"PATH": way.world.environment["PATH"], "HOME": way.world.home, **way.variables}
    first, *rest = [b"%s=%s" % (n.encode(), os.fsencode(v)) for n, v in own.items()]
    entries = [first, *entries, *rest]

    plain, call = (
        way.run_raw(program, name, args, entries)
        for program in (way.recorder.path, way.world.launcher)
    )

    assert plain.environment == entries
    # Python starts nothing with an empty name.
    assert call.argv[0] == (name or (b"claude" if way.flags else b""))
    way.compare(call, plain)


@pytest.mark.parametrize("entries", ENVIRONMENTS, ids=repr)
def test_an_environment_that_no_shell_would_make_passes(way: Way, entries: list[bytes]) -> None:
    pass_raw(way, b"claude", [b"-p"], entries)


@pytest.mark.parametrize("name", [b"claude", b"-claude", b"/some/other", b"", b"\xff", b"sh"])
def test_the_name_that_the_caller_gave_passes(way: Way, name: bytes) -> None:
    pass_raw(way, name, [b"-p"], [])


BYTES = st.binary(max_size=30).map(lambda some: some.replace(b"\0", b"="))
# What the launcher, the sanitizers, the loader or the C library would heed is no test of passing.
HARMLESS = BYTES.filter(
    lambda entry: (
        not entry.startswith(
            (
                b"PATH=",
                b"NSED_",
                b"OPENCODE=",
                b"HOME=",
                b"LD_",
                b"ASAN",
                b"UBSAN",
                b"MALLOC",
                b"GLIBC",
            )
        )
    )
)


@settings(
    max_examples=settings().max_examples // 5,  # of each way: two processes an example
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(args=st.lists(BYTES, max_size=8), entries=st.lists(HARMLESS, max_size=8))
def test_any_arguments_and_environment_pass(
    way: Way, args: list[bytes], entries: list[bytes]
) -> None:
    pass_raw(way, b"claude", args, entries)


def _blocked() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE])


def _ignored(*numbers: signal.Signals) -> Callable[[], None]:
    def ignore() -> None:
        # Popen has reset SIGPIPE and SIGXFSZ already.
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


def _limited() -> None:
    for kind in ("NOFILE", "CORE", "FSIZE", "STACK", "NPROC", "MEMLOCK"):
        number = getattr(resource, f"RLIMIT_{kind}")
        _, hard = resource.getrlimit(number)
        some = {"NOFILE": 1_099, "FSIZE": 1 << 20, "STACK": 4 << 20, "NPROC": 9_999}
        soft = some.get(kind, 0)
        resource.setrlimit(number, (soft, hard))


def _gone() -> None:
    os.mkdir("gone")
    os.chdir("gone")
    os.rmdir("../gone")


@pytest.mark.parametrize(
    "before_exec",
    [
        pytest.param(lambda: os.umask(0o027) and None, id="umask"),
        pytest.param(_blocked, id="blocked"),
        pytest.param(_ignored(signal.SIGPIPE), id="SIGPIPE ignored"),
        pytest.param(_ignored(signal.SIGXFSZ), id="SIGXFSZ ignored"),
        pytest.param(_ignored(signal.SIGPIPE, signal.SIGXFSZ), id="both ignored"),
        pytest.param(_ignored(signal.SIGINT, signal.SIGHUP, signal.SIGQUIT), id="ignored"),
        pytest.param(_ignored(signal.SIGCHLD, signal.SIGTSTP, signal.SIGALRM), id="more ignored"),
        pytest.param(_limited, id="limits"),
        pytest.param(_gone, id="deleted directory"),
        pytest.param(lambda: os.nice(1) and None, id="nice"),
    ],
)
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "tried out"])
def test_what_the_kernel_keeps_passes(
    way: Way, before_exec: Callable[[], None], trusted: bool
) -> None:
    if not trusted and way.flags:
        distrust_python(way.beside)
    way.check("-p", before_exec=before_exec, start_new_session=True)


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [1, 2], [0, 1, 2]], ids=repr)
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "tried out"])
def test_closed_descriptors_stay_closed(way: Way, closed: list[int], trusted: bool) -> None:
    if not trusted and way.flags:
        distrust_python(way.beside)

    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    call = way.check("-p", before_exec=close)

    assert not {str(number).encode() for number in closed} & call.descriptors.keys()


@pytest.mark.parametrize("way", ["first use"], indirect=True)
def test_of_a_first_call_all_passes_too(way: Way) -> None:
    def before_exec() -> None:
        _ignored(signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)()
        os.umask(0o027)
        os.close(0)

    way.check(*ODD_ARGS, env={"LANG": "C", "BYTES": b"\xff"}, before_exec=before_exec)


def test_descriptors_of_every_kind_pass(way: Way) -> None:
    one, other = socket.socketpair()
    reading, writing = os.pipe()
    held = [*(os.dup(reading) for _ in range(12)), writing, one.fileno(), other.fileno()]
    try:
        call = way.check("-p", pass_fds=held)
    finally:
        one.close()
        other.close()
        for number in (reading, *held[:13]):
            os.close(number)
    assert {str(number).encode() for number in held} <= call.descriptors.keys()


def test_what_a_pipe_holds_is_claudes_to_read(world: World) -> None:
    world.claude.then("exec cat")
    for env in ({}, {"NSED_ROOM_ID": "r"}):
        assert world.run("-p", input=b"x" * 300_000, env=env).stdout == b"x" * 300_000


# Arguments up to the system's limit


def arguments(size: int) -> list[str]:
    """Arguments of that many bytes."""
    whole, rest = divmod(size, LONGEST_ARGUMENT)
    return ["-p", *["x" * LONGEST_ARGUMENT] * whole, *["y" * rest] * bool(rest)]


def most_that_fits(way: Way) -> int:
    """The size of the longest arguments that claude can be run with, without the launcher."""

    def is_too_long(size: int) -> bool:
        try:
            process = way.world.start(
                *arguments(size), program=way.recorder.path, env=way.variables
            )
        except OSError as problem:
            if problem.errno != errno.E2BIG:
                raise
            return True
        process.kill()  # it was started: what it records takes its time
        process.communicate()
        way.recorder.forget()
        return False

    # Linux allows a quarter of the stack's limit, and never more than 6 MB.
    return bisect.bisect_left(range(7_000_000), True, key=is_too_long) - 1


def test_arguments_at_the_limit_pass(way: Way) -> None:
    args = arguments(most_that_fits(way) - 1000)
    way.check(*args)
    way.check(*["x"] * 50_000)


@pytest.mark.parametrize("way", ["known key"], indirect=True)
def test_arguments_that_leave_no_place_for_ours_pass_as_they_are(way: Way) -> None:
    args = arguments(most_that_fits(way))
    run = way.world.run(*args, env=way.variables)
    (call,) = way.recorder.calls()
    assert "without session management" in run.warning
    assert "install" not in run.warning
    assert call.argv[1:] == [arg.encode() for arg in args]
