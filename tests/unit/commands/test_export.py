"""Where an export may be written."""

import os
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from shim.commands import export
from shim.store.store import Store


def test_a_link_that_another_user_made_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    store = Store(str(tmp_path / "store"))
    link, target = str(tmp_path / "link"), str(tmp_path / "mine")
    export._require_harmless(target, link, store)
    monkeypatch.setattr(os, "lstat", lambda _: SimpleNamespace(st_uid=4242, st_mode=0o120777))
    with pytest.raises(click.ClickException, match="link of another user's"):
        export._require_harmless(target, link, store)
