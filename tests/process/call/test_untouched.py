"""What is around a call has no say in it; that all reaches claude, see install/test_passing_on."""

import signal
from collections.abc import Mapping

from tests.support.recorder import Text, World, derived, write_program

ROOM = "a room"
U = derived(ROOM)


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


def test_variables_meant_for_python_do_not_act(world: World) -> None:
    trap, sprung = world.root / "trap", world.root / "sprung"
    for name in ("sitecustomize", "usercustomize", "os", "json", "startup", "shim/__init__"):
        write_program(trap / f"{name}.py", f"open({str(sprung)!r}, 'w')")
    names = ("PYTHONPATH", "PYTHONHOME", "PYTHONPYCACHEPREFIX")
    variables: dict[str, Text] = {name: str(trap) for name in names}
    variables |= {"PYTHONSTARTUP": str(trap / "startup.py"), "PYTHONINSPECT": "1"}

    call = world.call("-p", env={**variables, "NSED_ROOM_ID": ROOM})

    assert call.args == [b"--session-id", U.encode(), b"-p"]
    assert not sprung.exists()


def test_modules_in_the_working_directory_are_not_imported(world: World) -> None:
    sprung = world.root / "sprung"
    for name in ("os", "json", "fcntl", "shim/__init__", "shim/call/wrapper"):
        write_program(world.directory / f"{name}.py", f"open({str(sprung)!r}, 'w')")

    call = world.call("-p", env={"NSED_ROOM_ID": ROOM})

    assert call.args == [b"--session-id", U.encode(), b"-p"]
    assert not sprung.exists()


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
