"""Real Claude Code behind the launcher, and the stand-in for its model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.messages_api import MessagesApi
from tests.support.real_claude import VERSIONS, World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def api() -> Iterator[MessagesApi]:
    with MessagesApi() as running:
        yield running


@pytest.fixture
def world(tmp_path: Path, api: MessagesApi, launcher_path: Path) -> Iterator[World]:
    with World(tmp_path, api.url, launcher_path) as running:
        yield running


@pytest.fixture(params=VERSIONS)
def any_claude(
    request: pytest.FixtureRequest, tmp_path: Path, api: MessagesApi, launcher_path: Path
) -> Iterator[World]:
    """A world of each version of Claude Code, for rules that depend on it."""
    with World(tmp_path, api.url, launcher_path, request.param) as running:
        yield running
