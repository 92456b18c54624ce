"""A program on the Claude Agent SDK, in a fleet: it says one thing after another.

Its argument is a JSON object: `prompts`, the `room` whose conversation it resumes, `begins`
where it begins that itself, and the `claude` to run. It prints a line of JSON for each answer and
each problem, and waits for a line on its stdin before the next.
"""

from __future__ import annotations

import asyncio
import json
import sys

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    MirrorErrorMessage,
    ResultMessage,
)

from shim.fleet.session_store import JetStreamSessionStore


async def main() -> None:
    asked = json.loads(sys.argv[1])
    async with JetStreamSessionStore() as store:
        session_id = await store.session_id(asked["room"])
        chosen = {"session_id" if asked.get("begins") else "resume": session_id}
        options = ClaudeAgentOptions(session_store=store, cli_path=asked["claude"], **chosen)
        async with ClaudeSDKClient(options) as client:
            for prompt in asked["prompts"]:
                await say(client, prompt)


async def say(client: ClaudeSDKClient, prompt: str) -> None:
    """Say one thing, and print its answer, and what the SDK complains of."""
    await client.query(prompt)
    async for message in client.receive_response():
        if isinstance(message, ResultMessage):
            print(json.dumps({"answer": message.result}), flush=True)
        elif isinstance(message, MirrorErrorMessage):
            print(json.dumps({"problem": message.error}), flush=True)
    sys.stdin.readline()


asyncio.run(main())
