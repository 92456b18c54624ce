"""Without HOME, as under systemd and cron: the same store and locks as with it."""

from pathlib import Path

import pytest

from tests.support.claude_shim import ask_process
from tests.support.compiled import compiled
from tests.support.recorder import Text, World, derived
from tests.support.rooms import live

SOURCE = Path(__file__).parents[2] / "support" / "password_database.c"
ROOM = "r"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "password_database.so"
    assert compiled(SOURCE, path, "-shared", "-fPIC"), "no C compiler"
    return path


@pytest.fixture
def service(world: World, library: Path) -> dict[str, Text | None]:
    """The environment of a service: no HOME, and a user whose home is the world's."""
    world.environment["NSED_ROOM_ID"] = ROOM
    return {"HOME": None, "LD_PRELOAD": str(library), "TEST_HOME": str(world.home)}


def test_a_service_and_a_person_have_one_store(
    world: World, service: dict[str, Text | None]
) -> None:
    run = world.run("-p", "hi", env=service)
    assert (run.exit_code, run.stderr) == (0, b"")
    assert derived(ROOM) in world.store.read_text()

    world.transcript(derived(ROOM))
    for env in (service, {}):
        assert world.call("-p", "again", env=env).args[:2] == [b"--resume", derived(ROOM).encode()]


def test_a_service_and_a_person_have_one_lock(
    world: World, service: dict[str, Text | None]
) -> None:
    world.transcript(derived(ROOM))
    with live(world, ROOM):
        run = world.run("-p", "hi", env={**service, "NSED_ON_BUSY": "fail"})
    assert run.exit_code == 75
    assert "is in use by" in run.warning


def test_a_service_forgets_what_a_person_recorded(
    world: World, service: dict[str, Text | None]
) -> None:
    world.call("-p", "hi")
    assert derived(ROOM) in world.store.read_text()
    run = ask_process(world, "forget", ROOM, "--yes", env=service)
    assert run.exit_code == 0, run.stderr
    assert derived(ROOM) not in world.store.read_text()
