"""Fixtures for tests of the launcher as a whole process."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.recorder import Text, World

JAPANESE = "ja_JP.EUC-JP"


@pytest.fixture
def world(tmp_path: Path, launcher_path: Path) -> World:
    return World(tmp_path, launcher_path)


@pytest.fixture(scope="session")
def japanese(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Text]:
    """A locale whose encoding is neither ASCII nor UTF-8."""
    where = tmp_path_factory.mktemp("locales")
    made = subprocess.run(["localedef", "-i", "ja_JP", "-f", "EUC-JP", where / JAPANESE])
    assert made.returncode == 0, "localedef needs its sources: apt install locales"
    return {"LOCPATH": str(where), "LC_ALL": JAPANESE}
