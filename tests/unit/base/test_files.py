"""Files that are put in a path's place, wherever that is."""

import os
import stat
from pathlib import Path

import pytest

from shim.base import files


def test_in_a_shared_directory_nothing_that_was_there_first_is_written_to(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    place = tmp_path / "shared"
    place.mkdir(mode=0o777)
    (place / "mappings.json.new").symlink_to(victim)
    theirs = place / "mappings.json"
    theirs.write_text("theirs")
    theirs.chmod(0o666)
    with theirs.open() as opened:
        files.replace_anywhere(str(theirs), b"ours")
        assert opened.read() == "theirs"
    assert theirs.read_text() == "ours"
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o600
    assert victim.read_text() == "mine"


def test_its_unfinished_name_cannot_be_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    monkeypatch.setattr(files.posix, "rename", lambda old, new: names.append(old))
    for _ in range(2):
        files.replace_anywhere(f"{tmp_path}/f", b"")
    assert len(set(names)) == 2


def test_what_cannot_be_put_there_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace_anywhere(f"{tmp_path}/f", b"ours")
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("make", [os.link, os.symlink])
def test_in_the_store_what_has_the_unfinished_name_goes_and_is_not_written_to(
    tmp_path: Path, make: object
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    assert callable(make)
    make(victim, tmp_path / "f.new")
    files.replace(f"{tmp_path}/f", b"ours")
    assert (tmp_path / "f").read_text() == "ours"
    assert victim.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["f", "victim"]
