"""One conversation, one live claude: no turn is ever lost."""

from __future__ import annotations

import json
import os
import signal
import threading
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pexpect
import psutil
import pytest

from tests.support import real_claude
from tests.support.messages_api import Reply
from tests.support.real_claude import TIMEOUT, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.messages_api import MessagesApi
    from tests.support.real_claude import World

MANY = 20


@pytest.fixture
def held(api: MessagesApi) -> Iterator[threading.Event]:
    """What lets the API answer prompts that contain `take your time`."""
    over = threading.Event()
    api.on("take your time", Reply(hold=over))
    yield over
    over.set()


def wait_for_turn(api: MessagesApi, prompt: str) -> None:
    api.wait_for(lambda api: any(prompt in turn.prompt for turn in api.turns()))


def chain(world: World, api: MessagesApi, session_id: str) -> list[str]:
    """The user's turns that claude remembers of a conversation, in order."""
    world.run("--resume", session_id, "-p", "what was said?", program=real_claude.binary())
    return api.turns()[-1].user_turns[:-1]


def test_twenty_calls_at_once_are_twenty_turns_in_a_chain(world: World, api: MessagesApi) -> None:
    world.ask("hello", room="r")
    prompts = [f"turn number {n:02}" for n in range(MANY)]

    running = [world.start("-p", prompt, room="r") for prompt in prompts]
    outcomes = [process.communicate(timeout=TIMEOUT)[0] for process in running]

    assert all("heard: turn number" in outcome for outcome in outcomes)
    said = chain(world, api, world.mapping("r") or "")
    assert said[0] == "hello"
    assert sorted(said[1:]) == prompts


def test_twenty_calls_at_once_without_the_shim_lose_turns(world: World, api: MessagesApi) -> None:
    world.ask("hello", room="r")
    session_id = world.mapping("r") or ""
    prompts = [f"turn number {n:02}" for n in range(MANY)]
    resume = ["--resume", session_id]

    running = [world.start(*resume, "-p", p, program=real_claude.binary()) for p in prompts]
    for process in running:
        process.communicate(timeout=TIMEOUT)

    assert len(chain(world, api, session_id)) < 1 + MANY


def test_agents_of_one_room_do_not_wait_for_one_another(
    world: World, api: MessagesApi, held: threading.Event
) -> None:
    running = [
        world.start("-p", f"take your time {n}", room="r", agent=f"agent-{n}") for n in range(MANY)
    ]
    # All of them are at the API at the same time: none waits for another to end.
    api.wait_for(lambda api: len(api.turns()) == MANY, timeout=TIMEOUT)
    held.set()
    for n, process in enumerate(running):
        stdout, _ = process.communicate(timeout=TIMEOUT)
        assert f"heard: take your time {n}" in stdout


def test_a_call_beside_an_idle_streaming_claude_is_answered_by_a_fork(
    world: World, api: MessagesApi
) -> None:
    stream = world.stream(room="r")
    assert stream.ask("one") == "heard: one"
    wait_until(lambda: "heard: one" in transcript(world), "the first turn in the transcript")

    assert ask_for_a_copy(world, "beside") == "heard: beside | before: one"

    assert stream.ask("two") == "heard: two | before: one"
    assert stream.close() == 0
    assert chain(world, api, world.mapping("r") or "") == ["one", "two"]


def test_a_claude_that_idles_after_clear_is_waited_for_no_longer_than_one_between_turns(
    any_claude: World,
) -> None:
    stream = any_claude.stream(room="r")
    assert stream.ask("one") == "heard: one"
    stream.ask("/clear")

    # The run's own time-out is shorter.
    done = any_claude.run("-p", "two", room="r", env={"NSED_BUSY_TIMEOUT": "600"})

    assert done.stdout.startswith("heard: two"), done
    assert stream.close() == 0


def ask_for_a_copy(world: World, prompt: str, *args: str, **where: Any) -> str:
    """The answer of a claude that resumes a fork of the room's conversation, and says so."""
    done = world.run(*args, "-p", prompt, room="r", **where)
    assert "runs in a fork of its conversation" in done.stderr, done
    assert done.stderr.count("\n") == 1, done
    return done.stdout.removesuffix("\n")


def transcript(world: World, room: str = "r") -> str:
    return "".join(path.read_text() for path in world.transcripts_of(room))


def test_a_call_beside_a_claude_that_has_said_nothing_yet_starts_a_conversation_of_its_own(
    world: World, api: MessagesApi, held: threading.Event
) -> None:
    stream = world.stream(room="r")
    stream.send("take your time")
    wait_for_turn(api, "take your time")

    impatient = {"NSED_BUSY_TIMEOUT": "0.2"}
    assert ask_for_a_copy(world, "beside", env=impatient) == "heard: beside"

    held.set()
    assert stream.next_result()["result"] == "heard: take your time"
    assert stream.close() == 0


@pytest.mark.parametrize("how", ["", " &> answer & wait"], ids=["plain", "in the background"])
def test_a_call_from_inside_the_conversation_stands_beside_it(
    world: World, api: MessagesApi, how: str
) -> None:
    command = f"claude -p subtask {how}; cat answer 2>/dev/null; true"
    api.on("delegate", Reply(tool=("Bash", {"command": command, "description": "ask"})))

    answer = world.ask("delegate", "--dangerously-skip-permissions", room="r")

    assert answer == "heard: delegate"
    subtask = next(turn for turn in api.turns() if turn.prompt == "subtask")
    assert subtask.user_turns == ["subtask"]
    assert subtask.session_id != world.mapping("r")
    assert "subtask" not in chain(world, api, world.mapping("r") or "")


@pytest.mark.usefixtures("held")
def test_a_killed_claude_hands_over_at_once_and_leaves_nothing_behind(
    world: World, api: MessagesApi
) -> None:
    world.ask("hello", room="r")
    holder = world.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")
    waiting = []
    for n in range(3):
        waiting.append(world.start("-p", f"waiter {n}", room="r"))
        wait_until(lambda: waits_in_line(waiting[-1].pid), "another waits in line")

    holder.send_signal(signal.SIGKILL)

    for process in waiting:
        stdout, stderr = process.communicate(timeout=TIMEOUT)
        assert "heard: waiter" in stdout
        assert stderr == ""
    said = chain(world, api, world.mapping("r") or "")
    assert said[0] == "hello"
    assert [turn for turn in said if "waiter" in turn] == [f"waiter {n}" for n in range(3)]
    assert (world.store / "leases").stat().st_size == 0


def waits_in_line(pid: int) -> bool:
    """Whether a launcher has a place in the line, and is not claude yet."""
    try:
        files = psutil.Process(pid).open_files()
    except psutil.Error:
        return False
    own = [lock for lock in locks() if lock[0] == pid]
    return any(file.path.endswith("/leases") for file in files) and bool(own)


def locks() -> list[tuple[int, int]]:
    """The POSIX locks of all processes: pid and inode."""
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    return [(int(row[4]), int(row[5].rpartition(":")[2])) for row in rows if row[1] == "POSIX"]


def test_a_background_command_of_the_bash_tool_does_not_keep_the_lock(
    world: World, api: MessagesApi, tmp_path: Path
) -> None:
    # In any shell: claude takes zsh for it where there is one.
    linger = f"echo $$ >{tmp_path}/pid; exec sleep 60"
    command = f"sh -c '{linger}' >/dev/null 2>&1 & until [ -s {tmp_path}/pid ]; do :; done"
    api.on("leave it", Reply(tool=("Bash", {"command": command, "description": "linger"})))
    world.ask("leave it", "--dangerously-skip-permissions", room="r")
    lingering = int((tmp_path / "pid").read_text())
    try:
        assert psutil.pid_exists(lingering)
        answer = world.ask("go on", room="r", env={"NSED_ON_BUSY": "fail"})
        assert answer == "heard: go on | before: leave it"
    finally:
        os.kill(lingering, signal.SIGKILL)


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait(world: World, api: MessagesApi, number: signal.Signals) -> None:
    world.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")
    waiting = world.start("-p", "waiter", room="r")
    wait_until(lambda: waits_in_line(waiting.pid), "it waits in line")

    waiting.send_signal(number)

    assert waiting.wait(10) == -number
    assert waiting.communicate() == ("", "")


def test_a_call_from_inside_a_fork_stands_beside_it_too(world: World, api: MessagesApi) -> None:
    stream = world.stream(room="r")
    stream.ask("one")
    wait_until(lambda: "heard: one" in transcript(world), "the first turn in the transcript")
    tool = ("Bash", {"command": "claude -p subtask", "description": "ask"})
    api.on("delegate", Reply(tool=tool))

    ask_for_a_copy(world, "delegate", "--dangerously-skip-permissions")

    subtask = next(turn for turn in api.turns() if turn.prompt == "subtask")
    assert subtask.user_turns == ["subtask"]
    assert world.mapping("r") != subtask.session_id
    assert stream.close() == 0


@pytest.mark.usefixtures("held")
def test_a_new_conversation_of_the_callers_own_waits_for_nobody(
    world: World, api: MessagesApi
) -> None:
    world.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")
    new = ["--session-id", str(uuid.uuid4())]
    assert world.ask("new", *new, room="r", env={"NSED_ON_BUSY": "fail"}) == "heard: new"


@pytest.mark.usefixtures("held")
def test_a_person_at_a_terminal_reads_of_the_wait(world: World, api: MessagesApi) -> None:
    holder = world.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")

    waiting = pexpect.spawn(
        str(world.launcher), ["-p", "waiter"], env=world.environment("r"), cwd=str(world.work)
    )
    try:
        waiting.expect(
            f"claude-shim: waiting for room 'r', agent 'claude': in use by claude {holder.pid}"
        )
        waiting.sendintr()
        waiting.expect(pexpect.EOF)
        waiting.close()
        assert waiting.signalstatus == signal.SIGINT
    finally:
        waiting.close(force=True)


@pytest.mark.usefixtures("held")
def test_a_call_that_fails_rather_than_waits_names_who_is_there(
    world: World, api: MessagesApi
) -> None:
    world.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")

    done = world.run("-p", "impatient", room="r", env={"NSED_ON_BUSY": "fail"})

    assert (done.returncode, done.stdout) == (75, "")
    assert "is in use by another claude" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize("env", [{"NSED_ON_BUSY": "fork"}, {"NSED_BUSY_TIMEOUT": "0.2"}])
def test_who_asks_for_it_or_has_waited_long_enough_gets_a_fork(
    world: World, api: MessagesApi, env: dict[str, str]
) -> None:
    world.ask("hello", room="r")
    world.start("-p", "take your time", room="r")
    wait_for_turn(api, "take your time")

    assert "before: hello" in ask_for_a_copy(world, "impatient", env=env)


def test_a_claude_started_without_the_shim_counts_as_well(world: World) -> None:
    world.ask("hello", room="r")
    session_id = world.mapping("r") or ""
    stranger = world.stream("--resume", session_id, program=real_claude.binary())
    assert stranger.ask("stranger") == "heard: stranger | before: hello"
    wait_until(lambda: "heard: stranger" in transcript(world), "the stranger's turn is written")

    assert ask_for_a_copy(world, "beside") == "heard: beside | before: hello ; stranger"
    assert stranger.ask("again") == "heard: again | before: hello ; stranger"


def test_what_a_killed_claude_left_in_the_registry_does_not_count(world: World) -> None:
    world.ask("hello", room="r")
    session_id = world.mapping("r") or ""
    stranger = world.stream("--resume", session_id, program=real_claude.binary())
    stranger.ask("stranger")
    wait_until(lambda: "heard: stranger" in transcript(world), "the stranger's turn is written")
    stranger.kill()
    entries = list((world.home / ".claude" / "sessions").glob("*.json"))
    assert any(session_id in entry.read_text() for entry in entries)

    answer = world.ask("after", room="r", env={"NSED_ON_BUSY": "fail"})

    assert answer == "heard: after | before: hello ; stranger"


def test_an_entry_whose_pid_is_another_process_by_now_does_not_count(world: World) -> None:
    world.ask("hello", room="r")
    sessions = world.home / ".claude" / "sessions"
    sessions.mkdir(exist_ok=True)
    entry = {"pid": os.getpid(), "sessionId": world.mapping("r"), "procStart": "1", "startedAt": 1}
    (sessions / f"{os.getpid()}.json").write_text(json.dumps(entry))

    answer = world.ask("again", room="r", env={"NSED_ON_BUSY": "fail"})

    assert answer == "heard: again | before: hello"
