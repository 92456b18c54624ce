"""The wrapper as one would write it in Python, with its libraries: what it does for a known key."""

import json
import os
import re
from datetime import datetime, timezone
from pathlib import Path

import click
import filelock
import psutil  # noqa: F401 - it would name the holder of a lock


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
def claude(args: tuple[str, ...]) -> None:
    """Continue the conversation of this room and agent."""
    room, agent = os.environ["NSED_ROOM_ID"], os.environ.get("NSED_AGENT_NAME", "claude")
    directory = Path(os.environ["NSED_SESSION_DIR"])
    # One live claude at a time: it keeps this lock through the exec.
    name = f"lock-{room}-{agent}".replace("/", "_")
    lock = os.open(directory / name, os.O_RDWR | os.O_CREAT, 0o600)
    filelock.lock_descriptor(lock)
    os.set_inheritable(lock, True)
    session_id = look_up_and_record(directory / "sessions.json", room, agent)
    os.execv(os.environ["NSED_CLAUDE_BIN"], ["claude", *flags(session_id), *args])


def look_up_and_record(path: Path, room: str, agent: str) -> str:
    """The session id of a room and agent, used now."""
    with path.open("r+") as file:
        filelock.lock_descriptor(file.fileno())
        rooms = json.load(file)
        entry = rooms[room][agent]
        entry["last_used"] = datetime.now(timezone.utc).isoformat()
        file.seek(0)
        json.dump(rooms, file, indent=2)
        file.truncate()
    return str(entry["uuid"])


def flags(session_id: str) -> list[str]:
    """What makes claude resume the conversation, or start it."""
    here = re.sub("[^a-zA-Z0-9]", "-", os.getcwd())
    for path in Path.home().glob(f".claude/projects/*/{session_id}.jsonl"):
        with path.open() as lines:
            if any(re.search('"type":"(user|assistant)"', line) for line in lines):
                return ["--resume", session_id if path.parent.name == here else str(path)]
    return ["--session-id", session_id]


if __name__ == "__main__":
    claude()
