"""Which host this is: the same one until the store is copied, or the machine is."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from shim.fleet import host

if TYPE_CHECKING:
    from pathlib import Path


def test_a_store_is_one_host_in_each_of_its_daemons_lives(tmp_path: Path) -> None:
    one, other = (host.identify(str(tmp_path), str(tmp_path)) for _ in range(2))
    assert one.host == other.host
    assert one.incarnation != other.incarnation


def test_a_copy_of_a_store_is_another_host(tmp_path: Path) -> None:
    original, copy = tmp_path / "original", tmp_path / "copy"
    original.mkdir()
    one = host.identify(str(original), str(original))
    shutil.copytree(original, copy)
    assert host.identify(str(copy), str(copy)).host != one.host
    assert host.identify(str(original), str(original)).host == one.host


@pytest.mark.parametrize("mark", ["boot", "hostname", "device", "inode"])
def test_a_cloned_machine_is_another_host(tmp_path: Path, mark: str) -> None:
    one = host.identify(str(tmp_path), str(tmp_path))
    path = tmp_path / "host.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, mark: 0}))
    assert host.identify(str(tmp_path), str(tmp_path)).host != one.host


@pytest.mark.parametrize("content", ["", "[]", '{"host": 1}', "\0"])
def test_a_damaged_memory_is_a_new_host(tmp_path: Path, content: str) -> None:
    (tmp_path / "host.json").write_text(content)
    assert len(host.identify(str(tmp_path), str(tmp_path)).host) == 32
