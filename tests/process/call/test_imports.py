"""What each way of a call imports, which is most of what it costs."""

import sys
from pathlib import Path

import pytest

from shim.install.launcher import install
from tests.support.daemon import SyncDaemon
from tests.support.recorder import World, derived

FORBIDDEN = {
    *("json", "re", "typing", "dataclasses", "enum", "pathlib", "uuid", "hashlib"),
    *("click", "filelock", "psutil"),
    *("collections", "contextlib", "functools", "signal", "subprocess", "shutil", "tempfile"),
    *("datetime", "random", "logging", "traceback", "site", "pwd"),
}
STREAM = ("-p", "--input-format", "stream-json")


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


def assert_light(modules: set[str], *ours: str) -> None:
    """Nothing heavy; and of ours only these, as the one file has all others."""
    assert not {name.partition(".")[0] for name in modules} & FORBIDDEN
    assert {name for name in modules if name.partition(".")[0] == "shim"} == set(ours)


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

    assert_light(modules)
    assert known_key.claude.calls[-1].args[0] == b"--resume"


def test_a_known_key_with_sidecars_imports_nothing_heavy(known_key: World) -> None:
    sidecars = known_key.transcript(derived("r")).with_suffix("") / "tool-results"
    sidecars.mkdir(parents=True)
    (sidecars / "one.txt").write_text("a long result")
    known_key.call("-p", "hi")  # they are retained

    modules = imported(known_key, "-p", "hi")

    assert_light(modules)
    assert known_key.claude.calls[-1].args[0] == b"--resume"


def test_a_stream_of_a_known_key_imports_nothing_heavy(known_key: World) -> None:
    known_key.call(*STREAM)  # its link to the plugin is made

    modules = imported(known_key, *STREAM)

    assert_light(modules)
    assert known_key.claude.calls[-1].args[0] == b"--plugin-dir"


def test_a_known_key_of_opencode_imports_nothing_heavy(world: World) -> None:
    session_id = derived("oc-ses_1")
    world.environment |= {"OPENCODE": "1", "OPENCODE_PID": "7", "OPENCODE_SESSION_ID": "ses_1"}
    world.map("oc-ses_1", "claude", session_id)
    world.transcript(session_id)
    world.call("-p", "hi")  # this claude's options are learned

    modules = imported(world, "-p", "hi")

    assert_light(modules)
    assert world.claude.calls[-1].args[:2] == [b"--resume", session_id.encode()]


def test_a_known_key_in_a_fleet_imports_nothing_heavy(known_key: World) -> None:
    known_key.environment["NSED_FLEET_URL"] = "nats://127.0.0.1:1"
    with SyncDaemon(known_key.store.parent) as daemon:
        daemon.answers["begin"] = {"answer": "granted"}
        known_key.call("-p", "hi")  # its link to the plugin is made

        modules = imported(known_key, "-p", "hi")

    fleet = ("shim.fleet", "shim.fleet.daemon_client", "shim.fleet.protocol")
    assert_light(modules, "shim.call.fleet_join", *fleet)
    assert not {name.partition(".")[0] for name in modules} & {"asyncio", "nats", "os", "socket"}
    assert b"--resume" in known_key.claude.calls[-1].args


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
