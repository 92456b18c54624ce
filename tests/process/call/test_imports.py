"""What a call costs: the modules it imports."""

import sys
from pathlib import Path

import pytest

from tests.support.recorder import World, derived

FORBIDDEN = {
    *("json", "re", "typing", "dataclasses", "enum", "pathlib", "uuid", "hashlib"),
    *("click", "filelock", "psutil"),
    *("collections", "contextlib", "functools", "signal", "subprocess", "shutil", "tempfile"),
    *("datetime", "random", "logging", "traceback", "site", "pwd"),
}


def imported(world: World, *args: str) -> set[str]:
    """The modules that a call of the launcher imports."""
    run = world.run(
        *("-X", "importtime", "-IS", str(world.launcher), *args), program=Path(sys.executable)
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

    assert "shim.store.store" in modules
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
    assert known_key.claude.calls[-1].args[0] == b"--resume"


@pytest.mark.parametrize(
    ("env", "args"),
    [
        ({}, ["-p", "hi"]),
        ({}, ["--version"]),
        ({"NSED_ROOM_ID": "r", "NSED_SHIM_DISABLE": "1"}, ["-p"]),
    ],
    ids=["no room", "no conversation", "disabled"],
)
def test_an_untouched_call_imports_nothing_heavy_and_no_store(
    world: World, env: dict[str, str], args: list[str]
) -> None:
    world.environment.update(env)

    modules = imported(world, *args)

    assert "shim.call.wrapper" in modules
    assert "shim.store.store" not in modules
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
