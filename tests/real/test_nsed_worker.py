"""NSED's own worker, played as it is: its command lines, environment, recovery and reading."""

from __future__ import annotations

import json
import re
import shutil
import signal
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shim.base.session_key import SessionKey, derive
from shim.claude import lines
from tests.support.messages_api import Reply
from tests.support.real_claude import knows, wait_until

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

ROOMS, AGENTS = ("alpha", "beta", "gamma"), ("proposer", "critic")
LONG = 300
"""Seconds for a worker's jobs, whatever else the machine does."""
# What the worker looks for in stderr, to sleep for minutes (help facts, "NSED's worker").
SLEEPS = re.compile(
    r"429|rate limit|overloaded|usage limit|quota exceeded|wait \d|retry in \d", re.I
)


class Worker:
    """What NSED's worker does for one agent in one room (quorum-rs 0.7, `mcp_agent.rs`)."""

    def __init__(self, world: World, directory: Path, room: str, agent: str) -> None:
        self.world = world
        self.directory = directory
        self.room = room
        self.agent = agent
        self.session_id = derive(SessionKey(room.encode(), agent.encode()))
        # It replaces slashes only.
        project = str(directory).replace("/", "-").replace("\\", "-")
        self.transcript = world.home / ".claude/projects" / project / f"{self.session_id}.jsonl"

    def start(self, how: str, number: int, *persona: str) -> subprocess.Popen[str]:
        names = {"NSED_SESSION_ID": self.room, "NSED_AGENT_NAME": self.agent}
        return self.world.start(
            *("--print", "--output-format", "json", "--model", "sonnet", how, self.session_id),
            *(persona if how == "--session-id" else ()),
            env={**names, "NSED_ROUND": str(number), "NSED_PHASE": "propose"},
            stdin=-1,
            cwd=self.directory,
        )

    def job(self, prompt: str, number: int = 0, *persona: str) -> str:
        """One job: resume, else begin; what claude answers, as the worker reads it.

        The persona is given where the conversation begins, and nowhere else: for the prompt cache.
        """
        for how in ("--resume", "--session-id", "--resume"):
            process = self.start(how, number, *persona)
            stdout, stderr = process.communicate(prompt, LONG)
            ours = [line for line in stderr.splitlines() if line.startswith("claude-shim")]
            assert not SLEEPS.search("\n".join(ours)), stderr
            if process.returncode == 0:
                return str(json.loads(stdout)["result"])
            assert re.search("No conversation found|already in use", stderr), stderr
        raise AssertionError(f"{prompt}: {stderr}")

    def begin_anew(self) -> None:
        """What it does where claude says that the derived id is taken: a random one, recorded."""
        self.session_id = str(uuid.uuid4())
        store = self.world.store / "sessions.json"
        rooms = json.loads(store.read_text())
        rooms[self.room][self.agent]["uuid"] = self.session_id
        store.write_text(json.dumps(rooms, indent=2))

    def said(self) -> list[str]:
        """The prompts in the transcript where the worker looks, in their order."""
        messages = [
            entry["message"]
            for line in self.transcript.read_bytes().splitlines()
            if (entry := lines.message(line)) and entry["type"] == "user"
        ]
        texts = [m["content"] for m in messages]
        return [t if isinstance(t, str) else t[0].get("text", "") for t in texts]


@pytest.fixture
def directory() -> Iterator[Path]:
    """A directory whose name the worker spells as claude does: no dot and no underscore."""
    path = Path("/tmp", f"nsed{uuid.uuid4().hex}").resolve()  # TMPDIR may have both, or be too long
    path.mkdir()
    yield path
    shutil.rmtree(path)


@pytest.fixture
def workers(any_claude: World, directory: Path) -> list[Worker]:
    return [Worker(any_claude, directory, room, agent) for room in ROOMS for agent in AGENTS]


def at_once(jobs: list[tuple[Worker, str]], number: int = 0) -> list[str]:
    """The answers to jobs that are all under way at the same time."""
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(lambda job: job[0].job(job[1], number), jobs))


def test_every_room_and_agent_has_its_own_conversation_with_every_turn_in_it(
    any_claude: World, api: MessagesApi, workers: list[Worker], long: bool
) -> None:
    rounds = range(4 if long else 2)
    for number in rounds:
        prompts = [f"{w.room} {w.agent} round {number}" for w in workers]
        answers = at_once(list(zip(workers, prompts, strict=True)), number)
        assert all(p in answer for p, answer in zip(prompts, answers, strict=True))

    for worker in workers:
        expected = [f"{worker.room} {worker.agent} round {n}" for n in rounds]
        assert worker.said() == expected
    files = list((any_claude.home / ".claude/projects").glob("*/*.jsonl"))
    assert len(files) == len(workers)  # no fork
    assert all(turn.user_turns[0].split()[0] in ROOMS for turn in api.turns())


def test_jobs_of_one_agent_at_once_begin_one_conversation(
    api: MessagesApi, workers: list[Worker]
) -> None:
    worker = workers[0]
    prompts = [f"job {n}" for n in range(4)]
    answers = at_once([(worker, prompt) for prompt in prompts])
    assert sorted(answer.split(" |")[0] for answer in answers) == [f"heard: {p}" for p in prompts]
    assert sorted(worker.said()) == prompts
    assert {turn.session_id for turn in api.turns()} == {worker.session_id}


def test_a_long_prompt_waits_for_the_lock_and_a_killed_job_hands_over(
    any_claude: World, api: MessagesApi, workers: list[Worker]
) -> None:
    worker = workers[0]
    worker.job("hello")
    hold = threading.Event()
    api.on("never answered", Reply(hold=hold))
    killed = worker.start("--resume", 1)
    assert killed.stdin
    killed.stdin.write("never answered")
    killed.stdin.close()
    api.wait_for(lambda api: any("never answered" in turn.prompt for turn in api.turns()))
    # Of an answer of more than 64 KiB claude itself drops the rest where the reader is late.
    api.on("long long", Reply(text="heard: long long"))
    long_prompt = "long " * 40_000
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(worker.job, long_prompt, 2)
        wait_until(lambda: _waits(any_claude.store), "the long job stands in line")

        killed.send_signal(signal.SIGKILL)

        assert waiting.result(LONG).startswith("heard: long long")
    hold.set()
    # What the killed claude was asked may be a torn line (2.1.197); nothing else is lost.
    said = [said[:5] for said in worker.said()]
    assert (said[0], said[-1], len(said) <= 3) == ("hello", "long ", True)


def test_after_a_collision_the_rooms_conversation_is_the_one_with_the_random_id(
    any_claude: World, workers: list[Worker]
) -> None:
    worker = workers[0]
    by_name = {"room": worker.room, "agent": worker.agent, "cwd": worker.directory}
    any_claude.ask("before", **by_name)
    worker.begin_anew()
    worker.job("one")
    worker.job("two")

    answer = any_claude.ask("three", **by_name)

    assert knows(answer) == ["one", "two"]
    assert any_claude.mapping(worker.room, worker.agent) == worker.session_id


def test_a_persona_that_began_a_conversation_is_claudes_to_remember(
    any_claude: World, api: MessagesApi, workers: list[Worker]
) -> None:
    worker = workers[0]
    persona = ("--append-system-prompt", "You are a heron.")

    def is_heard() -> bool:
        return persona[1] in repr(api.turns()[-1].body["system"])

    worker.job("one", 0, *persona)
    assert is_heard()
    worker.job("two", 1, *persona)
    of_worker = is_heard()
    any_claude.ask("three", room=worker.room, agent=worker.agent, cwd=worker.directory)
    of_room = is_heard()
    worker.job("four", 2, *persona)

    # 2.1.197 has no snapshot of what a conversation began with.
    has_snapshot = any_claude.version != "2.1.197"
    assert (of_worker, of_room, is_heard()) == (has_snapshot, False, has_snapshot)


def _waits(store: Path) -> bool:
    """Whether two processes have locks on the file of leases."""
    inode = (store / "leases").stat().st_ino
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    own = [row for row in rows if row[1] == "POSIX" and row[5].endswith(f":{inode}")]
    return len({row[4] for row in own}) > 1
