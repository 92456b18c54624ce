import asyncio
import socket

import nats
import pytest

from tests.support.nats import NatsServer


async def append(url: str, text: bytes) -> int:
    """Append a record, making its stream if need be, and return the record's sequence."""
    connection = await nats.connect(url)
    stream = connection.jetstream()
    await stream.add_stream(name="records", subjects=["records"])
    stored = await stream.publish("records", text)
    await connection.close()
    return stored.seq


def test_what_was_acknowledged_outlives_a_kill_on_the_same_address(nats_server: NatsServer) -> None:
    url = nats_server.url
    assert asyncio.run(append(url, b"one")) == 1

    nats_server.restart()

    assert nats_server.url == url
    assert asyncio.run(append(url, b"two")) == 2


def test_a_frozen_server_accepts_and_greets_nobody_until_it_is_resumed(
    nats_server: NatsServer,
) -> None:
    host, port = nats_server.url.removeprefix("nats://").split(":")
    nats_server.stop()
    with socket.create_connection((host, int(port))) as connection:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)

        nats_server.cont()

        connection.settimeout(30)
        assert connection.recv(4) == b"INFO"
