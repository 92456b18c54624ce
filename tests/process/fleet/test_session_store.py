"""The store of the Claude Agent SDK holds what the SDK expects of one, on a real server."""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from shim.base.messages import Failure
from shim.base.session_key import derive, stored_key
from shim.fleet import keys
from shim.fleet.session_store import Elsewhere, JetStreamSessionStore
from tests.support import agent_sdk
from tests.support.nats import NatsServer

agent_sdk.make_importable()

from claude_agent_sdk.testing import run_session_store_conformance  # noqa: E402

U = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"
KEY = {"project_key": "-work", "session_id": U}

Entries = list[dict[str, Any]]
With = Callable[..., Awaitable[None]]


@pytest.fixture(params=["open", "sealed"])
def key_file(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "open":
        return ""
    keys.make(str(tmp_path / "fleet.key"))
    return str(tmp_path / "fleet.key")


def entry(text: str) -> dict[str, Any]:
    return {"type": "user", "uuid": str(uuid.uuid4()), "message": {"content": text}}


def test_it_passes_the_conformance_suite_of_the_sdk(nats_server: NatsServer, key_file: str) -> None:
    async def run() -> None:
        async with JetStreamSessionStore(nats_server.url, key_file=key_file) as store:

            async def emptied() -> JetStreamSessionStore:
                for project in ("proj", "other", "other-proj", "A", "B"):
                    for found in await store.list_sessions(project):
                        key = {"project_key": project, "session_id": found["session_id"]}
                        await store.delete(key)
                return store

            await run_session_store_conformance(emptied)

    asyncio.run(run())


def with_two(server: NatsServer, key_file: str, test: With) -> None:
    """Run a test with the stores of two programs."""

    async def run() -> None:
        async with (
            JetStreamSessionStore(server.url, key_file=key_file) as one,
            JetStreamSessionStore(server.url, key_file=key_file) as other,
        ):
            await test(one, other)

    asyncio.run(run())


def test_what_one_program_adds_another_one_loads(nats_server: NatsServer, key_file: str) -> None:
    said = [entry("hello"), entry("grüße\u2028\ud83d"), {"type": "mode", "n": [1.5, None, True]}]

    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        await one.append(KEY, said)

        assert await other.load(KEY) == said

    with_two(nats_server, key_file, test)


def test_a_batch_that_is_sent_again_is_there_once(nats_server: NatsServer, key_file: str) -> None:
    said = [entry("hello"), entry("again")]

    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        await one.append(KEY, said[:1])
        await one.append(KEY, said)
        await other.append(KEY, said)

        assert await other.load(KEY) == said

    with_two(nats_server, key_file, test)


def test_a_large_batch_is_there_whole(nats_server: NatsServer, key_file: str) -> None:
    said = [entry("x".join(str(uuid.uuid4()) for _ in range(2000))) for _ in range(40)]

    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        await one.append(KEY, said)

        assert await other.load(KEY) == said

    with_two(nats_server, key_file, test)


def test_what_has_gone_on_elsewhere_is_not_mixed(nats_server: NatsServer, key_file: str) -> None:
    first, second, late = entry("one"), entry("two"), entry("late")

    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        await one.append(KEY, [first])
        await other.load(KEY)
        await other.append(KEY, [second])

        for _ in range(2):
            with pytest.raises(Elsewhere, match="has gone on elsewhere since"):
                await one.append(KEY, [late])
        assert await one.load(KEY) == [first, second]
        await one.append(KEY, [late])
        assert await other.load(KEY) == [first, second, late]

    with_two(nats_server, key_file, test)


def test_what_lies_beside_a_transcript_is_where_claude_has_it(
    nats_server: NatsServer, key_file: str
) -> None:
    of_subagent = {**KEY, "subpath": "subagents/agent-1"}
    said = [{"type": "agent_metadata", "agentType": "x"}, entry("hello")]

    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        await one.append(KEY, [entry("main")])
        await one.append(of_subagent, said)

        assert await other.list_subkeys(KEY) == ["subagents/agent-1"]
        assert await other.load(of_subagent) == said

    with_two(nats_server, key_file, test)


@pytest.mark.parametrize("subpath", ["../other", "/etc/passwd", "a/" * 9 + "b", "a\0b"])
def test_nothing_is_stored_that_hosts_would_refuse(nats_server: NatsServer, subpath: str) -> None:
    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        with pytest.raises(Failure, match="nothing can lie beside a transcript as"):
            await one.append({**KEY, "subpath": subpath}, [entry("hello")])
        assert await other.load(KEY) is None

    with_two(nats_server, "", test)


def test_a_room_has_the_conversation_that_it_was_linked_to(
    nats_server: NatsServer, key_file: str
) -> None:
    async def test(one: JetStreamSessionStore, other: JetStreamSessionStore) -> None:
        assert await other.session_id("r") == derive(stored_key("r", "claude"))

        await one.link(U, "r")

        assert await other.session_id("r") == U

    with_two(nats_server, key_file, test)


def test_without_a_server_it_says_so(nats_server: NatsServer) -> None:
    nats_server.kill()

    async def load() -> None:
        async with JetStreamSessionStore(nats_server.url) as store:
            await store.load(KEY)

    with pytest.raises(Failure, match="no NATS server answers at"):
        asyncio.run(load())


def test_without_a_fleet_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NSED_FLEET_URL", raising=False)

    with pytest.raises(Failure, match="no fleet is configured"):
        asyncio.run(JetStreamSessionStore().load(KEY))


def test_a_second_loop_has_a_connection_of_its_own(nats_server: NatsServer) -> None:
    store = JetStreamSessionStore(nats_server.url)
    said = [entry("hello")]

    asyncio.run(store.append(KEY, said))

    assert asyncio.run(store.load(KEY)) == said
