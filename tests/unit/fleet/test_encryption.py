"""Sealed, a record has its content for who has the key, in its place alone."""

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.fleet import encryption
from shim.fleet.backend import Unavailable
from shim.fleet.records import Hostile

OLD, NEW = "0f" * 32, "1e" * 32
SUBJECT = "claude_transcripts.x"
U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"


def code(directory: Path, *lines: str) -> encryption.Cipher:
    path = directory / "-".join(line[:2] for line in lines)
    path.write_text("\n".join(lines))
    path.chmod(0o600)
    return encryption.code(str(path))


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> encryption.Cipher:
    return code(tmp_path_factory.mktemp("keys"), OLD)


@given(content=st.binary(max_size=2000), follows=st.integers(0, 2**63))
def test_what_is_encrypted_can_be_read_with_its_key(
    encrypted: encryption.Cipher, content: bytes, follows: int
) -> None:
    payload = encrypted.encrypt(content, SUBJECT, follows)

    assert encrypted.decrypt(payload, SUBJECT, None) == (content, follows)


def test_nothing_of_it_is_seen(encrypted: encryption.Cipher) -> None:
    assert b"a secret" not in encrypted.encrypt(b"it is a secret, is it not", SUBJECT, 4)


@given(at=st.integers(min_value=len(b"\x00sealed 1\n") + 4), bit=st.integers(0, 7))
def test_one_bit_that_is_changed_is_noticed(
    encrypted: encryption.Cipher, at: int, bit: int
) -> None:
    payload = bytearray(encrypted.encrypt(b"hello", SUBJECT, 4))
    start = len(b"\x00sealed 1\n") + 4
    payload[start + at % (len(payload) - start)] ^= 1 << bit

    with pytest.raises(Hostile, match="was not encrypted for its place"):
        encrypted.decrypt(bytes(payload), SUBJECT, 4)


def test_a_record_cannot_be_moved_to_another_conversation(encrypted: encryption.Cipher) -> None:
    payload = encrypted.encrypt(b"hello", SUBJECT, 4)

    with pytest.raises(Hostile):
        encrypted.decrypt(payload, "claude_transcripts.y", 4)


def test_a_sealed_record_that_is_cut_is_noticed(encrypted: encryption.Cipher) -> None:
    payload = encrypted.encrypt(b"", SUBJECT, 4)

    for length in range(len(b"\x00sealed 1\n") + 4, len(payload)):
        with pytest.raises(Hostile):
            encrypted.decrypt(payload[:length], SUBJECT, 4)


def test_the_place_that_a_record_proves_is_the_sealed_one(encrypted: encryption.Cipher) -> None:
    payload = encrypted.encrypt(b"hello", SUBJECT, 4)

    assert encrypted.decrypt(payload, SUBJECT, 99) == (b"hello", 4)


def test_names_are_the_same_on_every_host_and_tell_nothing(tmp_path: Path) -> None:
    (name,) = code(tmp_path, OLD).names(U)

    assert code(tmp_path, OLD).names(U) == [name]
    assert U[:8] not in name
    assert name != code(tmp_path, NEW).names(U)[0]


def test_a_second_key_reads_and_the_first_one_writes(tmp_path: Path) -> None:
    before, after = code(tmp_path, OLD), code(tmp_path, NEW, OLD)
    old = before.encrypt(b"old", SUBJECT, 1)
    new = after.encrypt(b"new", SUBJECT, 2)

    assert after.decrypt(old, SUBJECT, 1) == (b"old", 1)
    assert after.writes_with == code(tmp_path, NEW).writes_with != before.writes_with
    assert list(after.names(U)[1:]) == before.names(U)
    with pytest.raises(Unavailable, match=r"are encrypted with a key that .* lacks"):
        before.decrypt(new, SUBJECT, 2)


def test_who_has_no_key_is_told_that_it_takes_one(encrypted: encryption.Cipher) -> None:
    payload = encrypted.encrypt(b"hello", SUBJECT, 0)

    with pytest.raises(Unavailable, match="are encrypted: name the file with their key"):
        encryption.code("").decrypt(payload, SUBJECT, 0)


def test_who_has_a_key_believes_no_open_record(encrypted: encryption.Cipher) -> None:
    with pytest.raises(Unavailable, match="are open, and NSED_FLEET_KEY_FILE encrypts"):
        encrypted.decrypt(b'{"version": 1}', SUBJECT, 0)


def test_another_way_to_seal_is_a_newer_version(encrypted: encryption.Cipher) -> None:
    with pytest.raises(Unavailable, match="by a newer claude-shim: update it here"):
        encrypted.decrypt(b"\x00sealed 2\nwhatever", SUBJECT, 0)


def test_open_names_are_those_that_a_subject_can_have() -> None:
    assert encryption.code("").names(U) == (U,)
    (odd,) = encryption.code("").names("a b.c*>\ud800")
    assert odd.isalnum()


def test_the_package_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)

    with pytest.raises(Unavailable, match=r"takes the package cryptography: `.*cryptography`"):
        code(tmp_path, OLD)
