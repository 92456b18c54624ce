"""A room with a head, and forks of it, in a config directory of their own."""

from __future__ import annotations

import os
import posix
from typing import TYPE_CHECKING

import pytest

from shim.base.session_key import new_session_id
from shim.forks import catching_up, writing
from tests.support.transcripts import Writer, history

if TYPE_CHECKING:
    from pathlib import Path


class Room:
    """A store, and conversations that write transcripts in one project."""

    def __init__(self, root: Path) -> None:
        self.store = str(root / "store")
        self.project = root / "config" / "projects" / "p"
        self.head = self.begin()

    def begin(self) -> Writer:
        """A conversation without a turn."""
        return Writer(self.project / f"{new_session_id()}.jsonl")

    def fork(self, of: Writer | None = None) -> Writer:
        """A fork of the head."""
        path = writing.write(self.store, str((of or self.head).path), new_session_id(), "a test")
        assert path is not None
        return Writer(self.project / os.path.basename(path))

    def catch_up(self, conversation: Writer) -> list[str]:
        """What is appended to a conversation, by its prompts."""
        return [turn.prompt for turn in catching_up.catch_up(self.store, conversation.session_id)]

    def lacks(self, conversation: Writer) -> list[str]:
        """What would be appended."""
        return [turn.prompt for turn in catching_up.lacking(self.store, conversation.session_id)]


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Room:
    monkeypatch.setitem(posix.environ, b"CLAUDE_CONFIG_DIR", os.fsencode(tmp_path / "config"))
    return Room(tmp_path)


__all__ = ["Room", "history"]
