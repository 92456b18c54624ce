"""What reaches claude is what reaches it without the shim, but for our flags and variables."""

import os
import resource
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.recorder import Call, Text, World, derived, raw_exec, write_program

ROOM = "a room"
U = derived(ROOM)
ODD_ARGS: list[Text] = [
    *("-p", "", "two words", "line\nend", "'\"$`\\", "é🙂"),
    *(b"\xff\xfe", b"\xa4\xa2\x8e\xb1", b"\x8f\xa2"),
]


def exports(room: str) -> list[bytes]:
    """What a claude of a room is told, beyond the room that the caller gave it."""
    return [
        b"CLAUDE_CODE_EAGER_FLUSH=1",
        b"NSED_AGENT_NAME=claude",
        b"NSED_SHIM_AGENT=claude",
        b"NSED_SHIM_ROOM=" + room.encode(),
    ]


class Way:
    """One way through the wrapper: what it adds to a call, and a check that it adds only that."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.flags: list[bytes] = []
        self.exports: list[bytes] = []
        if name == "no room":
            return
        world.environment["NSED_ROOM_ID"] = ROOM
        self.flags = [b"--session-id", U.encode()]
        self.exports = exports(ROOM)
        if name == "known key":
            world.map(ROOM, "claude", U)
            world.transcript(U)
            self.flags[0] = b"--resume"

    def check(self, *args: Text, **how: Any) -> Call:
        """Run claude without the shim and with it, and compare all that reached it."""
        plain = self.world.call(*args, program=self.world.claude.path, **how)
        call = self.world.call(*args, **how)
        assert call.args == self.flags + plain.args
        if self.exports:
            assert sorted(call.environment) == sorted(plain.environment + self.exports)
        else:
            assert call.environment == plain.environment
        assert call.kernel == plain.kernel
        leases = [n for n, where in call.descriptors.items() if where.endswith(b"/leases")]
        # The lease of a room is far from the descriptors a caller hands down.
        assert len(leases) == (1 if self.flags else 0)
        assert all(call.descriptors.pop(number) and number >= 100 for number in leases)
        assert call.descriptors == plain.descriptors
        assert call.directory == plain.directory
        return call


@pytest.fixture(params=["no room", "first use", "known key"])
def way(request: pytest.FixtureRequest, world: World) -> Way:
    return Way(world, request.param)


@pytest.mark.parametrize(
    "locale",
    [
        {},
        {"LANG": "C"},
        {"LANG": "POSIX"},
        {"LANG": "C.UTF-8"},
        {"LANG": "xx_YY.made-up"},
        {"LC_ALL": "C"},
        {"LC_ALL": "POSIX"},
        {"LC_ALL": "C.UTF-8"},
        {"LC_ALL": "", "LANG": "C"},
        {"LC_CTYPE": "C"},
        {"LC_CTYPE": "POSIX", "LANG": "C.UTF-8"},
        {"LC_CTYPE": "C.UTF-8"},
        {"LC_CTYPE": "C.UTF-8", "LC_ALL": "C"},
        {"LC_CTYPE": "C.UTF-8", "LANG": "C"},
        {"LC_CTYPE": ""},
        {"LC_CTYPE": "xx_YY.made-up"},
    ],
    ids=lambda locale: ",".join(f"{k}={v}" for k, v in locale.items()) or "unset",
)
def test_arguments_and_environment_pass_byte_for_byte_under_any_locale(
    way: Way, locale: dict[str, Text]
) -> None:
    way.check(*ODD_ARGS, env={**locale, "BYTES": b"\xff\xa4"})


def test_arguments_and_environment_pass_under_a_locale_that_is_not_utf_8(
    way: Way, japanese: Mapping[str, Text]
) -> None:
    way.check(*ODD_ARGS, env={**japanese, "BYTES": b"\xff\xa4\xa2\x8f"})


def test_a_directory_whose_name_the_locale_cannot_spell_is_no_obstacle(
    world: World, japanese: Mapping[str, Text]
) -> None:
    odd = world.root / "caf\u00e9 \U0001f642"
    odd.mkdir()
    world.claude.path.rename(odd / "claude")
    world.directory = odd
    world.path(world.launcher.parent, odd)

    call = world.call("-p", "hi", env={**japanese, "NSED_ROOM_ID": ROOM})

    assert call.args == [b"--session-id", U.encode(), b"-p", b"hi"]
    assert call.directory == odd


@pytest.mark.parametrize(
    "args", [[], [""], ["--"], ["--", "-p"], ["-"], ["--made-up", "-Zq"]], ids=repr
)
def test_odd_command_lines_pass(way: Way, args: list[Text]) -> None:
    way.check(*args)


def test_the_name_claude_is_called_by_is_claude(world: World) -> None:
    cat = Path("/bin/cat")
    run = world.run("/proc/self/cmdline", env={"NSED_CLAUDE_BIN": str(cat)})
    assert run.stdout == b"claude\0/proc/self/cmdline\0"


@pytest.mark.parametrize(
    "entries",
    [
        [b"TWICE=1", b"TWICE=2"],
        [b"no equals sign"],
        [b"=hidden", b"EMPTY=", b"A=B=C"],
        [b"odd name!=1", b"\xff=\xff", b"LINE=a\nb"],
        [],
    ],
    ids=repr,
)
def test_an_environment_that_no_shell_would_make_passes(world: World, entries: list[bytes]) -> None:
    path = os.fsencode(str(world.environment["PATH"]))
    entries = [b"HOME=/nowhere", b"PATH=" + path, *entries]

    call = world.call("-p", before_exec=raw_exec(world.launcher, [b"-p"], entries))

    assert call.environment == entries


def test_with_a_room_an_odd_environment_passes_too(world: World) -> None:
    path = b"PATH=" + os.fsencode(str(world.environment["PATH"]))
    entries = [b"TWICE=1", b"HOME=" + os.fsencode(world.home), path, b"no equals sign", b"TWICE=2"]
    given = [*entries, b"NSED_ROOM_ID=r", b"LANG=C"]

    call = world.call("-p", before_exec=raw_exec(world.launcher, [b"-p"], given))

    assert sorted(call.environment) == sorted([*given, *exports("r")])


def test_variables_meant_for_python_neither_act_nor_vanish(way: Way) -> None:
    trap = way.world.root / "trap"
    sprung = way.world.root / "sprung"
    for name in ("sitecustomize", "usercustomize", "os", "json", "startup", "shim/__init__"):
        write_program(trap / f"{name}.py", f"open({str(sprung)!r}, 'w')")

    way.check(
        "-p",
        env={
            "PYTHONPATH": str(trap),
            "PYTHONHOME": str(trap),
            "PYTHONSTARTUP": str(trap / "startup.py"),
            "PYTHONINSPECT": "1",
            "PYTHONVERBOSE": "1",
            "PYTHONWARNINGS": "error",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "warn",
            "PYTHONIOENCODING": "utf-16",
            "PYTHONMALLOC": "debug",
            "PYTHONPYCACHEPREFIX": str(trap),
            "LANG": "C",
        },
    )

    assert not sprung.exists()


def test_modules_in_the_working_directory_are_not_imported(way: Way) -> None:
    sprung = way.world.root / "sprung"
    for name in ("os", "json", "fcntl", "shim/__init__", "shim/call/wrapper"):
        write_program(way.world.directory / f"{name}.py", f"open({str(sprung)!r}, 'w')")

    way.check("-p")

    assert not sprung.exists()


def test_descriptors_pass(way: Way, tmp_path: Path) -> None:
    with (
        open(tmp_path / "in", "w+b") as given,
        open(tmp_path / "out", "wb") as out,
        open(tmp_path / "err", "wb") as err,
        open(tmp_path / "extra", "w+b") as extra,
    ):
        how = {"stdin": given, "stdout": out, "stderr": err, "pass_fds": [extra.fileno()]}
        call = way.check("-p", **how)
        assert str(tmp_path / "extra").encode() in call.descriptors[extra.fileno()]


@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1], [0, 1, 2]], ids=repr)
def test_closed_descriptors_stay_closed(way: Way, closed: list[int]) -> None:
    def close() -> None:
        for descriptor in closed:
            os.close(descriptor)

    call = way.check("-p", before_exec=close)

    assert not set(closed) & call.descriptors.keys()


def _ignore(*numbers: signal.Signals) -> Callable[[], None]:
    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


@pytest.mark.parametrize(
    "before_exec",
    [
        pytest.param(lambda: None, id="as usual"),
        pytest.param(lambda: os.umask(0o027) and None, id="umask"),
        pytest.param(
            lambda: (
                signal.pthread_sigmask(signal.SIG_SETMASK, [signal.SIGTERM, signal.SIGUSR1])
                and None
            ),
            id="blocked",
        ),
        pytest.param(_ignore(signal.SIGINT, signal.SIGHUP, signal.SIGQUIT), id="ignored"),
        pytest.param(_ignore(signal.SIGTERM, signal.SIGCHLD, signal.SIGTSTP), id="more ignored"),
    ],
)
def test_umask_signal_mask_and_dispositions_pass(way: Way, before_exec: Callable[[], None]) -> None:
    way.check("-p", before_exec=before_exec)


def test_a_write_to_a_closed_pipe_ends_what_claude_runs(world: World) -> None:
    # CPython ignores SIGPIPE; a claude that inherited that would have a `yes | head` that goes on.
    world.claude.then("yes")
    with world.start("-p", env={"NSED_ROOM_ID": ROOM}) as process:
        assert process.stdout is not None
        assert process.stdout.read(2) == b"y\n"
        process.stdout.close()
        process.wait(30)
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.returncode == 128 + signal.SIGPIPE


def test_a_file_size_limit_ends_what_claude_runs(world: World) -> None:
    world.claude.then(f"ulimit -S -f 1; exec cat /dev/zero >{world.root}/big")
    run = world.run("-p")
    assert run.exit_code == -signal.SIGXFSZ


def test_resource_limits_pass(world: World) -> None:
    world.claude.then("ulimit -n; ulimit -c")

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (99, 99))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    assert world.run("-p", before_exec=limit).stdout.split() == [b"99", b"0"]
