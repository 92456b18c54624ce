"""What a search costs beside `grep -rlF` over the same files, and the end of a long transcript."""

import json
import os
import random
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from benchmark.commands import CLAUDE_SHIM
from benchmark.measuring import Row
from benchmark.world import World, write_store

SIZE = 200_000
"""Bytes of a transcript."""
TRANSCRIPTS = 5000
PROJECTS = 200
LONG = 300_000_000
START = 0.15
"""Seconds that a search may take to start, and to find out which files there are."""
MOST = 100 * 1024
"""KiB."""
DAY = 86400
RARE, NOWHERE, EVERYWHERE = "needlework", "nowhereatall", "everywhere"
NAMES = {RARE: "rare", NOWHERE: "nowhere", EVERYWHERE: "in each"}


def finding(world: World) -> Iterator[Row]:
    """A word that is rare, one that is nowhere, one that is in each; then the last turns."""
    count = TRANSCRIPTS // 5 if world.quick else TRANSCRIPTS
    home = world.root / "finding"
    write(home, count)
    environ = world.environ() | {"HOME": str(home), "LC_ALL": "C.UTF-8"}
    projects = str(home / ".claude/projects")
    rounds = 3 if world.quick else 7
    peaks = []
    for word, what in NAMES.items():
        grep = Row(f"grep -rlF: a word {what}, {count:,} transcripts")
        ours = Row(f"search: a word {what}", to=grep.name, bar=2)
        ratios = []
        for _ in range(rounds):
            grep.values.append(_run(["grep", "-rlF", word, projects], environ)[0])
            seconds, peak = _run([CLAUDE_SHIM, "search", word], environ)
            ours.values.append(seconds)
            ratios.append(max(0.0, seconds - START) / grep.values[-1])
            peaks.append(peak)
        ours.ratio = statistics.median(ratios)
        yield grep
        yield ours
    yield Row("search: peak memory", unit="KiB", values=[max(peaks)], bar=MOST)
    last = Row(f"read --last 10: {LONG // 1_000_000} MB", bar=0.3)
    lengthen(home)
    command = [CLAUDE_SHIM, "read", "room0", "--last", "10"]
    last.values = [_run(command, environ)[0] for _ in range(rounds)]
    yield last


def write(home: Path, count: int) -> None:
    """Make a home with so many rooms, each last written when the last of it was said."""
    draw = random.Random(count)
    vocabulary = [
        "".join(draw.choices("etaoinshrdlucmfwypvbgkjqxz", range(26, 0, -1), k=draw.randint(2, 9)))
        for _ in range(5000)
    ]
    texts = [" ".join(draw.choices(vocabulary, k=500)) + '\n\t"code" \\ and' for _ in range(300)]
    rooms = {}
    now = time.time() - DAY
    for number in range(count):
        session_id = str(uuid.UUID(int=draw.getrandbits(128), version=4))
        rooms[f"room{number}"] = session_id
        path = home / f".claude/projects/-p{number % PROJECTS}/{session_id}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        written = now - 60 * DAY * number / count
        lines: list[str] = []
        size = 0
        while size < SIZE:
            said = f"{draw.choice(texts)} {EVERYWHERE}"
            if number % 500 == 7 and len(lines) == 2:
                said += f" {RARE}"
            lines.append(_line(lines, said, written - (SIZE - size) / 100))
            size += len(lines[-1])
        path.write_text("".join(lines))
        os.utime(path, (written, written))
    write_store(home / ".nsed", rooms)


def lengthen(home: Path) -> None:
    """Make the conversation of the first room a long one."""
    session_id = json.loads((home / ".nsed/sessions.json").read_text())["room0"]["claude"]["uuid"]
    (path,) = home.glob(f".claude/projects/*/{session_id}.jsonl")
    content = path.read_bytes()
    last = content.count(b"\n") - 1
    with path.open("ab") as file:
        for number in range(1, LONG // len(content)):
            # Each line with an id of its own, and the first one behind the last of those before.
            again = content.replace(b'"0000000000', b'"%010d' % number)
            parent = b'"parentUuid":"%010d%026d"' % (number - 1, last)
            file.write(again.replace(b'"parentUuid":null', parent, 1))


def _line(before: list[str], said: str, at: float) -> str:
    number = len(before)
    is_answer = number % 2 == 1
    message: dict[str, object] = {"role": "assistant" if is_answer else "user", "content": said}
    if is_answer:
        content = [{"type": "text", "text": said}]
        message |= {"model": "m", "content": content, "stop_reason": "end_turn"}
    entry = {
        "parentUuid": f"{number - 1:036d}" if number else None,
        "isSidechain": False,
        "type": message["role"],
        "message": message,
        "uuid": f"{number:036d}",
        "timestamp": time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(at)),
    }
    return json.dumps(entry, separators=(",", ":")) + "\n"


def _run(command: list[str], environ: dict[str, str]) -> tuple[float, float]:
    """The seconds that a command takes, and its peak memory in KiB."""
    began = time.monotonic()
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: nothing was found
        sys.exit(f"{command[0]} ended with {process.returncode}")
    return seconds, float(usage.ru_maxrss)
