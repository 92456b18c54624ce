"""Whatever changes anything, killed at each call by which it does: nothing is lost, all goes on.

Who looks afterwards knows the files as any other program does, and makes the next calls.
"""

import contextlib
import fcntl
import gzip
import json
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil
import pytest

from shim.install.launcher import install
from shim.locks.record_lock import Lock, key_offset, open_lock_file
from tests.support.children import Child
from tests.support.claude_shim import PROGRAM
from tests.support.killing import Killer, Process, Start
from tests.support.recorder import World, derived, wait_until

Begin = Callable[[World, Mapping[str, str]], Process]
Kill = Callable[[Start], object]
Key = tuple[str, str]

KNOWN, OTHER, STALE = ("known", "claude"), ("other", "a"), ("stale", "claude")
U = derived("known")
V = "7f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c12"
W = "7fffffff-58b1-4c53-9d1c-2b8a3f0e7c13"
ARRIVES = "8fffffff-58b1-4c53-9d1c-2b8a3f0e7c14"
GONE = "9fffffff-58b1-4c53-9d1c-2b8a3f0e7c15"
THERE = Path("/another/project")
DAY = 86400.0

# Kills of all ways together, with `--long`, and of each without.
ALL_KILLS = 2000
FEW = 3
# But for a name that nobody can guess: an export that is killed leaves one such file.
UNFINISHED = re.compile(r"(?!.*\.[0-9a-f]{16}\.new).*\.(new|importing|joining|putting-back)")


@dataclass(frozen=True)
class Way:
    """Something that changes something, and what there is to be before."""

    begin: Begin
    arrange: Callable[[World], object] = lambda _: None


# How it is begun


def call(*args: str, room: str = "known", **variables: str) -> Begin:
    """A call of claude."""
    return lambda world, env: world.start(*args, env={"NSED_ROOM_ID": room, **variables, **env})


def python(*args: str) -> Begin:
    """A Python that has our package; `HOME` in its arguments is the home."""

    def begin(world: World, env: Mapping[str, str]) -> Process:
        ours = {"PYTHONPATH": os.getcwd(), "PYTHONDONTWRITEBYTECODE": "1"}
        words = [arg.replace("HOME", str(world.home)) for arg in args]
        return world.start(*words, program=Path(sys.executable), env={**ours, **env})

    return begin


def claude_shim(*args: str) -> Begin:
    return python("-c", PROGRAM, *args)


def hook(world: World, env: Mapping[str, str]) -> Process:
    """What claude runs before a turn in another conversation."""
    account = world.root / "account"
    told = {"session_id": W, "hook_event_name": "UserPromptSubmit", "cwd": str(world.directory)}
    account.write_text(json.dumps(told))
    inside = json.loads((world.root / "inside").read_text())
    plugin = Path(inside["CLAUDE_PLUGIN_ROOT"])
    hooks = json.loads((plugin / "hooks" / "hooks.json").read_text())["hooks"]
    command = hooks["UserPromptSubmit"][0]["hooks"][0]["command"]
    with account.open() as stdin:
        shell = Path("/bin/sh")
        return world.start("-c", command, program=shell, env={**inside, **env}, stdin=stdin)


# What there is before


def say(world: World, session_id: str, project: Path | None = None, age: float = 0) -> Path:
    """A conversation with a word of its own."""
    path = world.transcript(session_id, project)
    line = {"type": "user", "message": {"role": "user", "content": word(session_id)}}
    with path.open("a") as file:
        file.write(json.dumps(line, separators=(",", ":")) + "\n")
    path.chmod(0o600)  # as claude's are
    written = time.time() - age
    os.utime(path, (written, written))
    return path


def word(session_id: str) -> str:
    return f"the word of {session_id}"


def stream(world: World) -> None:
    """A claude that can move to another conversation, and what its hooks see."""
    say(world, W)
    inside = world.call("-p", "--input-format", "stream-json", env={"NSED_ROOM_ID": "known"})
    plugin = os.fsdecode(inside.args[inside.args.index(b"--plugin-dir") + 1])
    told = dict(os.fsdecode(entry).partition("=")[::2] for entry in inside.environment)
    (world.root / "inside").write_text(json.dumps({**told, "CLAUDE_PLUGIN_ROOT": plugin}))


def clean_up(world: World) -> None:
    """Let claude's clean-up have taken a kept conversation, and what lay beside it."""
    (transcript,) = world.home.glob(f".claude/projects/*/{U}.jsonl")
    written = time.time() - 40 * DAY
    os.utime(transcript, (written, written))
    transcript.unlink()
    shutil.rmtree(transcript.with_suffix(""))


def leave_much_to_do(world: World) -> None:
    """What housekeeping pins, restores, forgets and removes."""
    say(world, W, THERE, age=40 * DAY)
    left_behind = world.store.parent / "kept" / f"{GONE}.from"
    left_behind.symlink_to(world.home / ".claude/projects/-gone")
    written = time.time() - 3 * DAY
    os.utime(left_behind, (written, written), follow_symlinks=False)


def write_mappings(world: World) -> None:
    entry = {"uuid": W, "last_used": "2099-01-02T03:04:05Z"}
    (world.home / "other.json").write_text(json.dumps({KNOWN[0]: {KNOWN[1]: entry}}))
    say(world, W, THERE)


def pack(world: World) -> None:
    """An archive of another machine's."""
    elsewhere = world.root / "elsewhere"
    elsewhere.mkdir()
    other = World(elsewhere, world.launcher)
    say(other, ARRIVES, THERE)
    other.map("arrives", "claude", ARRIVES)
    archive = str(world.home / "rooms.tar.gz")
    claude_shim("export", "--with-conversations", archive)(other, {}).communicate()


def put_the_launcher_there(world: World) -> None:
    install(world.home / ".nsed" / "bin")


def damage(world: World) -> None:
    put_the_launcher_there(world)
    world.store.write_bytes(world.store.read_bytes()[:-100])
    world.store.chmod(0o644)
    world.store.parent.chmod(0o755)


HOUSEKEEPING = "from shim.retention.housekeeping import main; main()"

WAYS = {
    "the first call of all": Way(call("-p", "hi"), lambda world: shutil.rmtree(world.store.parent)),
    "a call of a new room": Way(call("-p", "hi", room="new")),
    "a call of a known room": Way(call("-p", "hi")),
    "a fork": Way(call("-p", "hi", room="held", NSED_ON_BUSY="fork"), lambda world: say(world, W)),
    "a call that says its conversation": Way(
        call("-p", "hi", "--session-id", W), lambda world: say(world, W)
    ),
    "a call whose transcript holds no message": Way(
        call("-p", "hi", room="torn"),
        lambda world: world.transcript(derived("torn"), messages=False),
    ),
    "a call whose transcript was cleaned up": Way(call("-p", "hi"), clean_up),
    "a turn in another conversation": Way(hook, stream),
    "housekeeping": Way(
        python("-c", HOUSEKEEPING, "HOME/.nsed", "HOME/.claude/projects"), leave_much_to_do
    ),
    "forget": Way(claude_shim("forget", "known")),
    "delete": Way(claude_shim("delete", "known", "--yes")),
    "link": Way(claude_shim("link", "known", W), lambda world: say(world, W, THERE)),
    "prune": Way(claude_shim("prune", "--yes")),
    "import": Way(claude_shim("import", "HOME/other.json"), write_mappings),
    "import of conversations": Way(claude_shim("import", "HOME/rooms.tar.gz"), pack),
    "export": Way(claude_shim("export", "HOME/mappings.json")),
    "export of conversations": Way(
        claude_shim("export", "--with-conversations", "HOME/packed.tar.gz")
    ),
    "doctor --fix": Way(claude_shim("doctor", "--fix"), damage),
    "install": Way(claude_shim("install")),
    "install again": Way(claude_shim("install"), put_the_launcher_there),
    "uninstall": Way(claude_shim("uninstall"), put_the_launcher_there),
}


class Sweep:
    """Worlds in which the same is there, for one way to be gone and killed in each."""

    def __init__(self, root: Path, launcher: Path, way: Way) -> None:
        self._root = root
        self._launcher = launcher
        self._way = way
        self._count = 0

    def world(self) -> World:
        """Rooms with conversations, of which some are kept, and what the way needs."""
        self._count += 1
        root = self._root / str(self._count)
        root.mkdir()
        world = World(root, self._launcher)
        beside = say(world, U).with_suffix("") / "tool-results" / "long.txt"
        beside.parent.mkdir(parents=True)
        beside.write_text("a long result")
        say(world, V, THERE)
        world.map(*KNOWN, U)
        document = json.loads(world.store.read_text())
        old = {"uuid": GONE, "last_used": "2020-01-02T03:04:05.123456789Z"}
        document |= {OTHER[0]: {OTHER[1]: {**old, "uuid": V}}, STALE[0]: {STALE[1]: old}}
        world.store.write_text(json.dumps(document, indent=2))
        for path in (world.store, world.store.with_name("housekeeping")):
            path.chmod(0o600)
        world.call("-p", "hi", env={"NSED_ROOM_ID": "known"})
        self._way.arrange(world)
        return world

    def gone(self, kill: Kill) -> World:
        """One in which the way was gone, and killed on it."""
        world = self.world()
        with somebody_has_a_room(world):
            kill(partial(self._way.begin, world))
        _wait_for_the_end_of_all(world)
        world.claude.forget()
        return world

    def go_again(self, world: World) -> None:
        """Go the way once more, to its end."""
        self._way.begin(world, {}).communicate()
        _wait_for_the_end_of_all(world)


@contextlib.contextmanager
def somebody_has_a_room(world: World) -> Iterator[None]:
    """The lock of the room `held`, if there is a store."""

    def take() -> bool:
        lock = Lock(open_lock_file(str(world.store.parent)), key_offset("held", "claude"))
        return lock.try_acquire(is_long_running=False)

    holder = Child(take) if world.store.exists() else None
    try:
        assert holder is None or holder.said() == "True"
        yield
    finally:
        if holder is not None:
            holder.kill()


def _wait_for_the_end_of_all(world: World) -> None:
    def is_over() -> bool:
        processes = psutil.process_iter(["cmdline"])
        return not any(str(world.root) in " ".join(p.info["cmdline"] or ()) for p in processes)

    wait_until(is_over)


# What there is then


def mappings(world: World) -> dict[Key, str]:
    """The conversation of each room and agent; of a damaged store, none."""
    try:
        stored = world.mappings
    except (ValueError, FileNotFoundError):
        return {}
    return {(room, agent): uuid for room, its in stored.items() for agent, uuid in its.items()}


def words(world: World) -> set[str]:
    """The conversations of which the word is left, where a call finds it."""
    files = [*world.home.glob(".claude/projects/*/*"), *world.home.glob(".nsed/kept/*")]
    contents = b"\n".join(_content(path) for path in files if path.is_file())
    return {own for own in (U, V, W, ARRIVES) if word(own).encode() in contents}


def _content(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError):
        return b""


def unfinished(world: World) -> list[str]:
    """What is left of files that were being written."""
    return [path.name for path in world.root.rglob("*") if UNFINISHED.fullmatch(path.name)]


def assert_nothing_is_held(world: World) -> None:
    where = world.store.parent
    for path in (world.store, where / "kept", *where.glob("*.lock")):
        if path.exists():
            with _opened(path) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if (where / "leases").exists():
        with (where / "leases").open("r+") as leases:
            fcntl.lockf(leases, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def next_call(world: World, key: Key) -> tuple[str, str]:
    """How a room's next call goes on, and with which conversation."""
    room, agent = key
    run = world.run("-p", env={"NSED_ROOM_ID": room, "NSED_AGENT_NAME": agent})
    assert run.exit_code == 0
    assert all("recovered" in line for line in run.lines), run.lines
    how, named = (os.fsdecode(arg) for arg in world.claude.calls[-1].args[:2])
    return how, Path(named).name.removesuffix(".jsonl")


def assert_a_claude_runs(world: World) -> None:
    """The first one on PATH: the real one, or a launcher that works."""
    own = world.home / ".nsed" / "bin"
    if not own.exists():
        return
    path = f"{own}:{world.claude.path.parent}"
    program = shutil.which("claude", path=path)
    assert program is not None
    for room, options in (("", [[b"-p"]]), ("known", [[b"--resume"], [b"--session-id"]])):
        run = world.run("-p", program=Path(program), env={"PATH": path, "NSED_ROOM_ID": room})
        assert (run.exit_code, run.lines) == (0, [])
        is_ours = Path(program).parent == own
        assert world.claude.calls[-1].args[:1] in (options if is_ours else [[b"-p"]])


def assert_private(world: World) -> None:
    where = world.store.parent
    seen = [path for path in (where, *where.iterdir()) if path.stat().st_mode & 0o077]
    assert seen in ([], [where / "bin"])


@pytest.fixture(scope="session")
def killer(tmp_path_factory: pytest.TempPathFactory) -> Killer:
    return Killer(tmp_path_factory.mktemp("killer"))


def kills(
    killer: Killer, name: str, calls: int, seconds: float, long: bool
) -> Iterator[tuple[str, Kill]]:
    """At each call in turn, then at any instant; in short, at a few calls."""
    chance = random.Random(name)
    for at in range(1, calls + 1) if long else sorted(chance.sample(range(1, calls + 1), FEW)):
        yield f"at call {at} of {calls}", lambda start, at=at: killer.kill_at(start, at)
    for _ in range(ALL_KILLS // len(WAYS) + 1 - calls if long else 0):
        after = chance.random() * seconds
        yield f"after {after} s", lambda start, after=after: killer.kill_after(start, after)


@pytest.mark.parametrize("name", WAYS)
def test_a_kill_at_any_moment_loses_nothing(
    tmp_path: Path, launcher_path: Path, killer: Killer, name: str, long: bool
) -> None:
    sweep = Sweep(tmp_path, launcher_path, WAYS[name])
    untouched = sweep.world()
    measured: list[tuple[int, float]] = []
    done = sweep.gone(lambda start: measured.append(killer.measure(start)))
    after = mappings(done)
    before = mappings(untouched) or after  # a damaged store is recovered
    stay = {key: before[key] for key in before if before[key] == after.get(key)}
    left = words(untouched) & words(done)

    for moment, kill in kills(killer, name, *measured[0], long):
        world = sweep.gone(kill)
        try:
            assert_nothing_is_held(world)
            heads = {}
            for key in (KNOWN, OTHER):
                how, heads[key] = next_call(world, key)
                assert how == "--resume" or heads[key] not in left
            assert words(world) >= left
            assert mappings(world).items() >= heads.items() | stay.items()
            assert_a_claude_runs(world)
            assert_private(world)
            sweep.go_again(world)
            assert unfinished(world) == []
        except AssertionError as problem:
            raise AssertionError(f"killed {moment}: {problem}") from problem
        shutil.rmtree(world.root)
