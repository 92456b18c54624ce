"""What a call costs: the modules it imports."""

import sys
from pathlib import Path

import pytest

from shim.install.launcher import install
from tests.support.recorder import World, derived

FORBIDDEN = {
    *("json", "re", "typing", "dataclasses", "enum", "pathlib", "uuid", "hashlib"),
    *("click", "filelock", "psutil"),
    *("collections", "contextlib", "functools", "signal", "subprocess", "shutil", "tempfile"),
    *("datetime", "random", "logging", "traceback", "site", "pwd"),
}


def imported(world: World, *args: str) -> set[str]:
    """The modules that a call of the launcher's program imports."""
    program = world.launcher.with_name(".claude-shim-program.py")
    handed = (str(world.launcher), "", "", str(world.claude.path), "claude", *args)
    run = world.run(
        *("-X", "importtime", "-IS", "-Xutf8", str(program), *handed), program=Path(sys.executable)
    )
    assert world.claude.calls
    lines = [line for line in run.lines if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.fixture
def known_key(world: World) -> World:
    world.environment["NSED_ROOM_ID"] = "r"
    world.map("r", "claude", derived("r"))
    world.transcript(derived("r"))
    world.call("--version")  # this claude's options are learned
    return world


@pytest.mark.parametrize("project", [None, Path("/another/project")], ids=["here", "elsewhere"])
def test_a_known_key_imports_nothing_heavy(known_key: World, project: Path | None) -> None:
    if project:
        known_key.transcript(derived("r")).unlink()
        known_key.transcript(derived("r"), project)

    modules = imported(known_key, "-p", "hi")

    # Ours are all in the one file, each behind what it imports itself: none is looked for.
    ours = {name for name in modules if name.partition(".")[0] in ("shim", "fcntl")}
    assert ours == set()
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
    assert known_key.claude.calls[-1].args[0] == b"--resume"


def test_a_known_key_with_sidecars_imports_nothing_heavy(known_key: World) -> None:
    sidecars = known_key.transcript(derived("r")).with_suffix("") / "tool-results"
    sidecars.mkdir(parents=True)
    (sidecars / "one.txt").write_text("a long result")
    known_key.call("-p", "hi")  # they are retained

    modules = imported(known_key, "-p", "hi")

    ours = {name for name in modules if name.partition(".")[0] in ("shim", "fcntl")}
    assert ours == set()
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
    assert known_key.claude.calls[-1].args[0] == b"--resume"


def test_a_stream_of_a_known_key_imports_nothing_heavy(known_key: World) -> None:
    stream = ("-p", "--input-format", "stream-json")
    known_key.call(*stream)  # its link to the plugin is made

    modules = imported(known_key, *stream)

    ours = {name for name in modules if name.partition(".")[0] in ("shim", "fcntl")}
    assert ours == set()
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
    assert known_key.claude.calls[-1].args[0] == b"--plugin-dir"


def test_a_known_key_whose_claude_has_written_nothing_imports_nothing_heavy(
    known_key: World,
) -> None:
    known_key.transcript(derived("r")).unlink()
    known_key.call("-p", "hi")  # where its conversation will be is noted

    modules = imported(known_key, "-p", "hi")

    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
    assert known_key.claude.calls[-1].args[0] == b"--session-id"


def test_a_call_without_that_file_imports_nothing_heavy(known_key: World) -> None:
    known_key.launcher = install(known_key.root / "bin")
    known_key.launcher.with_name(".claude-shim-modules").unlink()

    modules = imported(known_key, "-p", "hi")

    assert "shim.store.store" in modules
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
