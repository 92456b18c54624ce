"""Other wrappers that do the same work, at what suits them best: a store of one entry."""

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from benchmark.measuring import Row, Timed, timed
from benchmark.world import SESSION_ID, STAMP, TRUE, World, known_key, write_store

PEERS = Path(__file__).resolve().parents[2] / "tests/support/peers"


def peers(world: World) -> Iterable[Row]:
    """Each beside a call of ours, and all of them shown to do its work."""
    commands = {
        "bash, with jq and flock": [str(PEERS / "bash-with-jq")],
        "Python, with click, filelock, psutil": [sys.executable, str(PEERS / "plain_python.py")],
        "node": [str(shutil.which("node")), str(PEERS / "node.mjs")],
    }
    for name, command in {"claude-shim": [str(world.launcher)], **commands}.items():
        _require_the_same_work(world, name, command)
    environ = world.known(1)
    if pyenv := shutil.which("pyenv"):
        environ |= {"PYENV_ROOT": str(world.root / "pyenv"), "PYENV_VERSION": "one"}
        program = world.root / "pyenv/versions/one/bin/claude"
        program.parent.mkdir(parents=True)
        program.symlink_to(TRUE)
        world.run([pyenv, "rehash"], environ)
        commands["pyenv's shim, which records nothing"] = [str(world.root / "pyenv/shims/claude")]
    else:
        world.left_out.append("pyenv's shim: there is no pyenv on PATH")
    ours = Timed(known_key(1), world.call, environ)
    table = [
        Timed(name, [*command, "-p", "hello"], environ, ours, bar=4, at_least=True, runs=8)
        for name, command in commands.items()
    ]
    return timed(world, "peers", table, rounds=3 if world.quick else 12)


def _require_the_same_work(world: World, name: str, command: list[str]) -> None:
    """Look up, record, exec: what a wrapper that is compared has to do."""
    store, tell, room = world.root / f"store of {name}", world.root / "tell", 'a "room"'
    tell.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    tell.chmod(0o755)
    write_store(store, {room: SESSION_ID})
    environ = world.environ(
        NSED_SESSION_DIR=str(store), NSED_ROOM_ID=room, NSED_CLAUDE_BIN=str(tell)
    )
    told = world.run([*command, "-p", "two words"], environ, capture_output=True).stdout
    if told.splitlines() != ["--resume", SESSION_ID, "-p", "two words"]:
        sys.exit(f"scripts/bench: {name} did not resume, but ran claude with {told.splitlines()}")
    entry = json.loads((store / "sessions.json").read_text())[room]["claude"]
    if entry["uuid"] != SESSION_ID or entry["last_used"] <= STAMP:
        sys.exit(f"scripts/bench: {name} did not record the call: {entry}")
