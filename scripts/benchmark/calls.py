"""Every kind of call of ours, and fifty of them at once."""

import json
import shlex
import shutil
import uuid
from collections.abc import Iterable
from pathlib import Path

from benchmark.measuring import Row, Timed, timed
from benchmark.world import FLOOR, SESSION_ID, UNTOUCHED, World, known_key, rooms_of

SIZES = (1, 1_000, 10_000)


def calls(world: World) -> Iterable[Row]:
    """The floor, and every kind of call of ours beside it."""
    one = world.known(1)
    busy = one | _ten_live_claudes(world)
    sidecars = one | _with_sidecars(world)
    opencode = world.environ(NSED_SESSION_DIR=one["NSED_SESSION_DIR"]) | _of_opencode(one)
    floor = Timed(FLOOR, world.floor, one)
    fed_floor = Timed(f"{FLOOR}, by sh, with an event on stdin", _fed(world, world.floor), one)

    def ours(name: str, environ: dict[str, str], bar: float | None, prepare: str = "") -> Timed:
        return Timed(name, world.call, environ, floor, bar=bar, prepare=prepare)

    known = [ours(known_key(n), world.known(n), 1.3) for n in SIZES]
    table = [
        Timed("sh -c 'exec true'", ["sh", "-c", "exec true"], one),
        floor,
        ours(UNTOUCHED, world.environ(), 0.2),
        *known,
        *(
            ours(f"{known_key(100_000)}, {place}", world.known(100_000, place), 2.4)
            for place in ("first", "middle", "last")
        ),
        ours("known key with sidecars", sidecars, 1.4),
        ours("known key of OpenCode", opencode, 1.3),
        ours("known key beside ten live claudes", busy, 1.3),
        *(_new_key(world, n, 2) for n in SIZES),
        _new_key(world, 100_000, 3),
        *_among_projects(world),
        fed_floor,
        Timed("hook", _fed(world, [str(world.hook)]), world.hooked(one), fed_floor, bar=0.25),
    ]
    return timed(world, "calls", table, rounds=4 if world.quick else 12)


def many(world: World) -> Iterable[Row]:
    """Fifty known keys at once; fifty rooms of real claude are with the real claude's rows."""
    environ = world.known(10_000)
    rooms = rooms_of(world.store(10_000))[:50]

    def fifty(command: list[str]) -> list[str]:
        calls = [f"NSED_ROOM_ID={room} {shlex.join(command)} &" for room in rooms]
        return ["sh", "-c", f"{' '.join(calls)} wait"]

    floor = Timed(f"50 at once: {FLOOR}", fifty(world.floor), environ, runs=3)
    name = "50 known keys at once, 10,000 entries"
    known = Timed(name, fifty(world.call), environ, floor, bar=1.5, runs=3)
    return timed(world, "many", [floor, known], rounds=2 if world.quick else 6)


def _with_sidecars(world: World) -> dict[str, str]:
    home = world.make_home("with-sidecars", world.project)
    for folder, name in (("tool-results", "toolu_1.txt"), ("subagents", "agent-1.jsonl")):
        directory = home / ".claude/projects" / world.project / SESSION_ID / folder
        directory.mkdir(parents=True)
        (directory / name).write_text("hello\n" * 1000)
    store = world.root / "with-sidecars-store"
    shutil.copytree(world.store(1), store, symlinks=True, ignore=shutil.ignore_patterns("kept"))
    return {"HOME": str(home), "NSED_SESSION_DIR": str(store)}


def _of_opencode(known: dict[str, str]) -> dict[str, str]:
    session = known["NSED_ROOM_ID"].removeprefix("oc-")
    return {"OPENCODE": "1", "OPENCODE_PID": "1", "OPENCODE_SESSION_ID": session}


def _new_key(world: World, size: int, bar: float, home: Path | None = None) -> Timed:
    """A call of another new room each time, in a store that had as many entries at first."""
    store = world.root / f"fresh-{size}{'-in-projects' if home else ''}"
    shutil.copytree(world.store(size), store, symlinks=True)
    environ = world.known(size) | {"NSED_SESSION_DIR": str(store)}
    known = _in_room(world, environ["NSED_ROOM_ID"], world.home)
    name = "new key, 5,000 projects" if home else f"new key, {size:,} entries"
    base = Timed("a known key by sh", known, environ)
    return Timed(name, _in_room(world, "new-$$", home or world.home), environ, base, bar=bar)


def _in_room(world: World, room: str, home: Path) -> list[str]:
    names = f"NSED_ROOM_ID={room} HOME={shlex.quote(str(home))}"
    return ["sh", "-c", f"{names} exec {shlex.join(world.call)}"]


def _among_projects(world: World) -> Iterable[Timed]:
    """Calls in a home of 5,000 projects, beside a known key in one of a single project."""
    projects = [f"-project-{number}" for number in range(5_000)]
    here = world.make_home("projects-and-this", *projects, world.project)
    elsewhere = world.make_home("projects", *projects)
    environ = world.known(1)
    room = environ["NSED_ROOM_ID"]
    base = Timed("a known key by sh", _in_room(world, room, world.home), environ)
    for whose, home, bar in (("this one's", here, 1.1), ("another's", elsewhere, 2)):
        name = f"known key, 5,000 projects, {whose}"
        yield Timed(name, _in_room(world, room, home), environ, base, bar=bar)
    yield _new_key(world, 2, 3, elsewhere)


def _ten_live_claudes(world: World) -> dict[str, str]:
    home = world.make_home("busy", world.project)
    (home / ".claude/sessions").mkdir()
    for pid in range(10):
        entry = {"pid": pid, "sessionId": str(uuid.uuid4()), "cwd": "/" + "x" * 200}
        (home / ".claude/sessions" / f"{pid}.json").write_text(json.dumps(entry))
    return {"HOME": str(home)}


def _fed(world: World, command: list[str]) -> list[str]:
    """By a shell, with the event that claude hands a hook on its stdin."""
    event = {
        "session_id": SESSION_ID,
        "transcript_path": "/home/ada/.claude/x.jsonl",
        "hook_event_name": "UserPromptSubmit",
        "prompt": "hello",
    }
    file = world.root / "event.json"
    file.write_text(json.dumps(event, separators=(",", ":")))
    return ["sh", "-c", f"exec {shlex.join(command)} <{shlex.quote(str(file))}"]
