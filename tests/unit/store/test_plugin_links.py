"""Links to the plugin, of each room and agent's own."""

import os
import shutil
from pathlib import Path

import pytest

from shim.base.session_key import SessionKey
from shim.store import plugin_links

KEY = SessionKey(b"a room", b"an agent")


@pytest.fixture
def plugin(tmp_path: Path) -> Path:
    """A plugin of two variants."""
    for variant in ("following", "interactive"):
        (tmp_path / "plugin" / variant).mkdir(parents=True)
    (tmp_path / "plugin" / "follow").touch(mode=0o755)
    return tmp_path / "plugin"


@pytest.fixture
def store(tmp_path: Path) -> str:
    return str(tmp_path / "store")


def made(store: str, plugin: Path, key: SessionKey = KEY, variant: str = "following") -> str:
    link = plugin_links.ensure(store, key, str(plugin), variant)
    assert link
    return link


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        SessionKey(b"", b"a"),
        SessionKey(b"r" * 10000, b"/\n"),
        SessionKey(b"\xff", "é".encode()),
    ],
    ids=["plain", "no room", "long", "not UTF-8"],
)
def test_a_link_says_whose_it_is(store: str, plugin: Path, key: SessionKey) -> None:
    link = made(store, plugin, key)
    assert plugin_links.is_link(link)
    where, owner = plugin_links.owner(link)
    assert (where, owner.room, owner.agent) == (store, key.room, key.agent)
    assert os.path.samefile(link, plugin / "following")
    # Claude makes a directory of this name, which may have 255 bytes.
    assert all(len(part) < 100 for part in link.removeprefix(store).split("/"))


def test_no_two_keys_have_one(store: str, plugin: Path) -> None:
    keys = [(b"a", b"b/c"), (b"a/b", b"c"), (b"ab", b"c"), (b"a", b"bc"), (b"c", b"ab")]
    links = {made(store, plugin, SessionKey(*key)) for key in keys}
    assert len(links) == len(keys)


def test_the_links_of_a_key_lie_together(store: str, plugin: Path) -> None:
    links = [made(store, plugin, variant=variant) for variant in ("following", "interactive")]
    assert len({os.path.dirname(link) for link in links}) == 1


def test_a_link_is_made_once(store: str, plugin: Path) -> None:
    before = os.lstat(made(store, plugin))
    assert os.lstat(made(store, plugin)) == before


def test_a_link_whose_plugin_is_gone_leads_to_the_new_one(
    store: str, plugin: Path, tmp_path: Path
) -> None:
    made(store, plugin)
    moved = Path(shutil.move(plugin, tmp_path / "moved"))
    link = made(store, moved)
    assert os.path.samefile(link, moved / "following")


def test_two_installations_have_links_of_their_own(
    store: str, plugin: Path, tmp_path: Path
) -> None:
    other = Path(shutil.copytree(plugin, tmp_path / "other"))
    links = [made(store, each) for each in (plugin, other, plugin)]
    assert links[0] == links[2]
    assert os.path.samefile(links[0], plugin / "following")
    assert os.path.samefile(links[1], other / "following")


def test_a_link_that_leads_nowhere_is_made_anew(store: str, plugin: Path, tmp_path: Path) -> None:
    link = made(store, plugin)
    os.unlink(link)
    os.symlink(tmp_path / "gone", link)
    assert made(store, plugin) == link
    assert os.path.samefile(link, plugin / "following")


def test_of_a_plugin_whose_hook_cannot_be_run_there_is_none(store: str, plugin: Path) -> None:
    made(store, plugin)
    (plugin / "follow").unlink()
    assert plugin_links.ensure(store, KEY, str(plugin), "following") is None


def test_of_a_plugin_without_the_variant_there_is_none(store: str, plugin: Path) -> None:
    assert plugin_links.ensure(store, KEY, str(plugin), "unknown") is None
    assert not os.path.exists(store)


def test_where_none_can_be_made_there_is_none(store: str, plugin: Path) -> None:
    Path(store).write_text("no directory")
    assert plugin_links.ensure(store, KEY, str(plugin), "following") is None


def test_of_a_store_named_from_here_the_link_is_found_from_everywhere(
    plugin: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    link = made("store", plugin)
    assert link.startswith(f"{tmp_path}/store/")
    assert os.path.exists(link)


@pytest.mark.parametrize("root", ["", "/", "/home/u/.nsed/bin/.claude-shim-plugin", "plugins"])
def test_another_path_is_no_link(root: str) -> None:
    assert not plugin_links.is_link(root)
