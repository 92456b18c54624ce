"""A copy of a conversation for a reader: what the log has, and only what is new is fetched."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest

from shim.fleet import copies
from shim.fleet.host import Host
from shim.fleet.log import Chunk, Log
from shim.fleet.records import TRANSCRIPT
from tests.support.backend import MemoryBackend

if TYPE_CHECKING:
    from pathlib import Path

U = "11111111-1111-4111-8111-111111111111"


def test_there_is_no_copy_of_what_the_fleet_does_not_have(tmp_path: Path) -> None:
    path = tmp_path / "copy"
    assert asyncio.run(copies.write(MemoryBackend(), U, str(path), 0)) == 0
    assert not path.exists()


@pytest.mark.parametrize("seed", range(20))
def test_a_copy_is_what_the_log_has_however_often_it_is_fetched(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)

    async def story() -> None:
        backend = MemoryBackend()
        log = Log(backend, U, Host("a", "host a", "1"))
        backend.alive["a"] = {}
        await log.acquire(7, "one-shot")
        path = tmp_path / "copy"
        content, sequence = b"", 0
        for number in range(12):
            # Now and then the file is written anew from a place on.
            at = draw.choice([len(content)] * 3 + [draw.randint(0, len(content))])
            body = b"line %d\n" % number
            await log.append_data(Chunk(TRANSCRIPT, at, body))
            await log.append_data(Chunk("tool-results/x.txt", 0, b"a sidecar"))
            content = content[:at] + body
            if draw.random() < 0.5:
                sequence = await copies.write(backend, U, str(path), sequence)
                assert path.read_bytes() == content
        again = await copies.write(backend, U, str(path), sequence)
        assert again == await copies.write(backend, U, str(path), again)
        assert path.read_bytes() == content
        assert path.stat().st_mode & 0o777 == 0o600

    asyncio.run(story())
