"""Files that are put in a path's place, wherever that is."""

import os
import posix
import pwd
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from shim.base import files
from shim.base.messages import Failure


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
        files.replace(str(theirs), b"ours")
        assert opened.read() == "theirs"
    assert theirs.read_text() == "ours"
    assert stat.S_IMODE(theirs.stat().st_mode) == 0o600
    assert victim.read_text() == "mine"


def test_its_unfinished_name_cannot_be_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = []
    monkeypatch.setattr(files.posix, "rename", lambda *paths: names.append(paths[0]))
    for _ in range(2):
        files.replace(f"{tmp_path}/f", b"")
    assert len(set(names)) == 2


def test_what_cannot_be_put_there_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "f").mkdir()
    with pytest.raises(IsADirectoryError):
        files.replace(f"{tmp_path}/f", b"ours")
    assert os.listdir(tmp_path) == ["f"]


@pytest.mark.parametrize("make", [os.link, os.symlink])
def test_what_a_killed_writer_left_behind_is_in_nobodys_way_and_not_written_to(
    tmp_path: Path, make: Callable[[Path, Path], None]
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    make(victim, tmp_path / "f.new")
    files.replace(f"{tmp_path}/f", b"ours")
    assert (tmp_path / "f").read_text() == "ours"
    assert victim.read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["f", "f.new", "victim"]


def test_a_file_is_read_whole_and_one_of_the_system_too(tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * 200_000)
    assert files.read(str(large)) == large.read_bytes()
    assert files.read("/proc/self/stat").startswith(b"%d " % os.getpid())


def test_what_cannot_be_read_holds_nothing_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", ".", "missing", "missing/file"):
        assert files.read(str(tmp_path / name)) == b""
    writer = os.open(tmp_path / "fifo", os.O_RDWR)
    assert files.read(str(tmp_path / "fifo")) == b""
    os.close(writer)


def entry(name: str, home: str) -> SimpleNamespace:
    """A user of the password database."""
    return SimpleNamespace(pw_name=name, pw_dir=home)


class TestTheStoresOfOthers:
    @pytest.fixture(autouse=True)
    def owners(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
        """Directories that are there, and whose; we are root."""
        owners = {"/home/ada": 1000, "/home/ada/.nsed": 1000, "/root": 0, "": 0, "/tmp": 0}

        def status(path: str) -> object:
            if path in owners:
                mode = 0o041777 if path == "/tmp" else 0o040700
                return SimpleNamespace(st_uid=owners[path], st_mode=mode)
            raise FileNotFoundError

        monkeypatch.setattr(posix, "stat", status)
        monkeypatch.setattr(posix, "geteuid", lambda: 0)
        return owners

    @pytest.mark.parametrize("path", ["/home/ada/.nsed", "/home/ada/x/y/.nsed", "/home/ada"])
    def test_root_does_nothing_there(self, path: str) -> None:
        for check in (files.leave_to_its_owner, files.make_directory):
            with pytest.raises(Failure, match="belongs to another user, and you are root"):
                check(path)

    @pytest.mark.parametrize(
        ("home", "owner", "is_used"),
        [
            ("/github/home", "runner", True),  # a container job's: nobody's
            ("/home/ada", "ada", False),  # `sudo` with a kept HOME
            ("/home/grace", None, False),  # of a network's user, whom the list does not have
        ],
    )
    def test_root_makes_a_store_in_a_home_that_is_nobodys(
        self,
        monkeypatch: pytest.MonkeyPatch,
        owners: dict[str, int],
        home: str,
        owner: str | None,
        is_used: bool,
    ) -> None:
        users = [entry("root", "/root"), entry("ada", "/home/ada"), entry("runner", "/home/runner")]
        monkeypatch.setattr(pwd, "getpwall", lambda: users)
        by_id = {user.pw_name: user for user in users} | {None: entry("grace", "/home/grace")}
        monkeypatch.setattr(pwd, "getpwuid", lambda _: by_id[owner])
        monkeypatch.setenv("HOME", home)
        owners[home] = 1001
        if is_used:
            files.leave_to_its_owner(f"{home}/.nsed")
            owners[f"{home}/.nsed"] = 1001
        with pytest.raises(Failure, match="belongs to another user, and you are root"):
            files.leave_to_its_owner(f"{home}/.nsed")

    @pytest.mark.parametrize("path", ["/root", "/root/.nsed", "/new/x", "/tmp/x", "relative/x"])
    def test_what_is_roots_own_it_uses(self, path: str) -> None:
        files.leave_to_its_owner(path)

    @pytest.mark.parametrize("path", ["/home/ada/.nsed", "/tmp"])
    def test_a_user_believes_nothing_that_others_may_have_put_there(
        self, monkeypatch: pytest.MonkeyPatch, path: str
    ) -> None:
        monkeypatch.setattr(posix, "geteuid", lambda: 1001)
        with pytest.raises(Failure, match="is not yours alone"):
            files.leave_to_its_owner(path)

    @pytest.mark.parametrize("path", ["/home/ada/.nsed", "/home/ada/new", "/root"])
    def test_for_users_permissions_decide(self, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
        monkeypatch.setattr(posix, "geteuid", lambda: 1000)
        files.leave_to_its_owner(path)
