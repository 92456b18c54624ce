"""Fixtures for tests of the launcher alone: the C program, and a stand-in for our package."""

import shutil
from pathlib import Path

import pytest

from tests.support.compiled import (
    LAUNCHER,
    RECORDER,
    SANITIZED,
    SANITIZERS,
    CompiledRecorder,
    compiled,
    write_installation,
)
from tests.support.recorder import World


@pytest.fixture(scope="session", params=["as built", "sanitized"])
def compiled_launcher(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The launcher, compiled as it is installed, and once more to catch what C forgives."""
    program = tmp_path_factory.mktemp("launcher") / "claude"
    if request.param == "as built":
        path = compiled(LAUNCHER, program, "-O2")
        assert path, "no C compiler"
        return path
    for sanitizer in SANITIZERS:
        path = compiled(LAUNCHER, program, *SANITIZED, sanitizer)
        if path:
            return path
    pytest.skip("no compiler here has a sanitizer")


@pytest.fixture(scope="session")
def compiled_recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = compiled(RECORDER, tmp_path_factory.mktemp("recorder") / "claude", "-O1")
    assert path, "no C compiler"
    return path


@pytest.fixture
def world(tmp_path: Path, compiled_launcher: Path) -> World:
    """A world whose launcher is the C program, installed for the stand-in."""
    (tmp_path / "bin").mkdir()
    launcher = Path(shutil.copy(compiled_launcher, tmp_path / "bin" / "claude"))
    write_installation(launcher.parent)
    return World(tmp_path, launcher)


@pytest.fixture
def recorder(world: World, compiled_recorder: Path) -> CompiledRecorder:
    """A compiled claude, in the place of the world's."""
    recorder = CompiledRecorder(world.root / "compiled", compiled_recorder)
    world.path(world.launcher.parent, recorder.path.parent)
    return recorder
