"""Real claude with and without the shim, to the first byte of the answer; and fifty at once."""

import json
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any

from benchmark.measuring import Row, cost
from benchmark.world import SESSION_ID, TIMEOUT, TRUE, World, write_store
from tests.support import real_claude
from tests.support.messages_api import MessagesApi
from tests.support.real_claude import STREAM_JSON

AT_ONCE = 50
WITH_SHIM = ", with the shim"
WITH_FLOOR = ", with the floor"
UNTOUCHED = ", with the shim and no room"
# What each way may cost: beside claude alone, and streaming beside the floor, whose hook does
# nothing, as any hook costs claude more than the shim does.
ONE_SHOT = {WITH_SHIM: 1.03, UNTOUCHED: 1.01}
STREAMING = {WITH_SHIM: 1.05}
AT_ONCE_BARS = {WITH_SHIM: 1.1}
# How a claude is started in the conversation of this number: its first arguments, and whatever
# else real_claude.World is told, which starts the launcher if nothing else.
Way = Callable[[int], tuple[list[str], dict[str, Any]]]
Ask = Callable[[real_claude.World, Way, int], float]


def claude(world: World) -> Iterator[Row]:
    """Each way beside claude alone, and beside what any wrapper in Python would cost."""
    root = world.root / "real"
    with (
        MessagesApi() as api,
        real_claude.World(root, api.url, world.launcher, real_claude.VERSIONS[-1]) as real,
    ):
        yield from _rows(world, real)


def _rows(world: World, real: real_claude.World) -> Iterator[Row]:
    binary = real_claude.binary(real.version)
    _end(real.start("--session-id", SESSION_ID, "-p", "hello", program=binary, stderr=None))
    resume = [["--resume", session_id] for session_id in _conversations(real)]
    # A conversation's first call does more: its transcript is linked, so that it is kept.
    for number in range(AT_ONCE):
        real.run("-p", "hello", room=f"room-{number}", env={"NSED_CLAUDE_BIN": TRUE})
    named = {"NSED_CLAUDE_BIN": str(binary)}
    # What any wrapper in Python costs, and beside it any hook where the shim has its own.
    floor = world.root / "floor"
    become = f"os.execve({str(binary)!r}, sys.argv, os.environ)"
    floor.write_text(f"#!{world.python} -IS\nimport os, sys\n{become}\n")
    floor.chmod(0o755)
    hook = ["--plugin-dir", _empty_hook(world.root)]

    both: dict[str, Way] = {
        "": lambda n: (resume[n], {"program": binary}),
        WITH_SHIM: lambda n: ([], {"room": f"room-{n}", "env": named}),
    }
    one_shot: dict[str, Way] = {
        **both,
        UNTOUCHED: lambda n: (resume[n], {"env": named}),
        WITH_FLOOR: lambda n: (resume[n], {"program": floor}),
    }
    streaming: dict[str, Way] = {
        WITH_FLOOR: lambda n: ([*hook, *resume[n]], {"program": floor}),
        **both,
    }
    _ask_once(real, both[WITH_SHIM], 0)  # learns claude's options
    at_once = f"{AT_ONCE} real claudes at once"
    yield from _in_turns(real, "real claude, one-shot", one_shot, _ask_once, ONE_SHOT, turns=48)
    yield from _in_turns(
        real, "real claude, streaming", streaming, _ask_streaming, STREAMING, turns=48
    )
    yield from _in_turns(real, at_once, both, _ask_all, AT_ONCE_BARS, 2)


def _conversations(real: real_claude.World) -> list[str]:
    """Copies of the conversation that is there, each with a room of its own: their session ids."""
    (first,) = real.transcripts(SESSION_ID)
    session_ids = [str(uuid.uuid4()) for _ in range(AT_ONCE)]
    for session_id in session_ids:
        copy = first.read_text().replace(SESSION_ID, session_id)
        first.with_name(f"{session_id}.jsonl").write_text(copy)
    write_store(real.store, {f"room-{number}": it for number, it in enumerate(session_ids)})
    return session_ids


def _empty_hook(root: Path) -> str:
    """A plugin for claude whose hook before each turn does nothing."""
    hooks = root / "empty-hook/hooks/hooks.json"
    hooks.parent.mkdir(parents=True)
    hook = {"hooks": [{"type": "command", "command": ":"}]}
    hooks.write_text(json.dumps({"hooks": {"UserPromptSubmit": [hook]}}))
    return str(root / "empty-hook")


def _in_turns(
    real: real_claude.World,
    name: str,
    ways: dict[str, Way],
    ask: Ask,
    bars: dict[str, float],
    turns: int,
) -> list[Row]:
    """Ask in each way to start claude, the one to compare with first; begin turns with another.

    Each turn is in another conversation, so that none grows long.
    """
    base, *others = found = [Row(name + way) for way in ways]
    for turn in range(turns):
        print(f"{name}: round {turn + 1} of {turns}", file=sys.stderr)
        pairs = list(zip(found, ways.values(), strict=True))
        first = turn % len(pairs)
        for row, way in pairs[first:] + pairs[:first]:
            row.values.append(ask(real, way, turn))
    for row in others:
        row.to, row.ratio = base.name, cost(row.values) / cost(base.values)
        row.bar = bars.get(row.name.removeprefix(name))
    return found


def _ask_once(real: real_claude.World, way: Way, turn: int) -> float:
    """Seconds to the first byte of a one-shot claude's answer."""
    args, where = way(turn)
    began = time.perf_counter()
    process = real.start(*args, "-p", "hello", stderr=None, **where)
    assert process.stdout
    start = process.stdout.read(1)
    took = time.perf_counter() - began
    _end(process, start)
    return took


def _ask_streaming(real: real_claude.World, way: Way, turn: int) -> float:
    """Seconds to the answer of a claude that is started for a turn of stream-json."""
    said = {"type": "user", "message": {"role": "user", "content": "hello"}}
    args, where = way(turn)
    began = time.perf_counter()
    process = real.start(*args, *STREAM_JSON, stdin=PIPE, stderr=None, **where)
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps(said) + "\n")
    answer = next((line for line in process.stdout if '"type":"assistant"' in line), "")
    took = time.perf_counter() - began
    process.stdin.close()
    _end(process, answer)
    return took


def _ask_all(real: real_claude.World, way: Way, _: int) -> float:
    """Seconds until fifty claudes, started at once, have all answered and ended."""
    calls = [way(number) for number in range(AT_ONCE)]
    began = time.perf_counter()
    running = [real.start(*args, "-p", "hello", stderr=None, **where) for args, where in calls]
    for process in running:
        _end(process)
    return time.perf_counter() - began


def _end(process: Popen[str], answer: str = "") -> None:
    """Wait for a claude's end; it must have answered."""
    assert process.stdout
    answer += process.stdout.read()
    if process.wait(TIMEOUT) or "heard: hello" not in answer:
        sys.exit(f"scripts/bench: a claude exited with {process.returncode}, having said {answer}")
