"""Fixtures that tests of every level share."""

from pathlib import Path

import pytest

from shim import launcher


@pytest.fixture(scope="session")
def launcher_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The launcher, installed in a directory of its own."""
    return launcher.install(tmp_path_factory.mktemp("launcher"))
