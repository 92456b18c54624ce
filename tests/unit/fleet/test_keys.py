"""Files of keys: made for one user alone, and read only where that is so."""

import stat
from pathlib import Path

import pytest

from shim.base.messages import Failure
from shim.fleet import keys
from shim.fleet.backend import Unavailable

KEY = "0f" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.key"


def write(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o600)
    return str(path)


def test_a_new_file_has_a_key_that_is_its_users_alone(path: Path) -> None:
    keys.make(str(path))

    assert len(keys.read(str(path))) == 1
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_two_new_keys_are_different(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keys.make(str(tmp_path / name))

    assert keys.read(str(tmp_path / "a")) != keys.read(str(tmp_path / "b"))


def test_a_file_that_is_there_is_left_as_it_is(path: Path) -> None:
    path.write_text("precious")

    with pytest.raises(Failure, match="is there already, and is left as it is"):
        keys.make(str(path))
    assert path.read_text() == "precious"


def test_several_keys_a_line_each_with_remarks(path: Path) -> None:
    found = keys.read(write(path, f"# the new one\n{KEY}\n\n# the old one\n{'1e' * 32}\n"))

    assert len(found) == len({key.name for key in found}) == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_or_write_is_refused(path: Path, mode: int) -> None:
    write(path, KEY)
    path.chmod(mode)

    with pytest.raises(Unavailable, match=r"is open to others: `chmod go= .*fleet\.key`"):
        keys.read(str(path))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "holds no key"),
        ("# nothing else\n", "holds no key"),
        ("secret\n", "has a line that is no key"),
        (KEY[2:], "has a line that is no key"),
        (f"{KEY}\nö\n", "cannot be read"),
    ],
)
def test_a_file_without_a_key_is_refused(path: Path, text: str, why: str) -> None:
    with pytest.raises(Unavailable, match=why):
        keys.read(write(path, text))


def test_a_file_that_is_not_there_is_refused(path: Path) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        keys.read(str(path))


def test_what_a_key_is_known_by_tells_nothing_of_it(path: Path) -> None:
    (key,) = keys.read(write(path, KEY))

    secrets = (bytes.fromhex(KEY), key.sealing, key.naming)
    assert all(key.name not in secret for secret in secrets)
    assert len(set(secrets)) == 3
