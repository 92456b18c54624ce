"""Many calls of a host at once, which have one sync daemon."""

from contextlib import ExitStack
from pathlib import Path

from shim.fleet import daemon_client
from tests.support.real_claude import wait_until
from tests.support.recorder import World, write_program

MANY = 20


def followed(world: World) -> set[str]:
    """The rooms whose claude the sync daemon follows."""
    try:
        said = daemon_client.ask(str(world.store.parent), "status", starts=False)
    except daemon_client.Unanswered:  # busy with the calls
        return set()
    return {each["room"] for each in said["conversations"] if each["pid"]}


def is_claude(pid: int) -> bool:
    """Whether a call has become the program that plays claude."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"/bin/sleep\0")


def test_every_claude_is_followed_that_is_not_said_to_go_on_alone(member: World) -> None:
    member.call("-p", "hi")
    sleeping = member.root / "sleeping"
    write_program(sleeping, "#!/bin/sh\nexec /bin/sleep 600\n")
    complaints = {f"room-{number}": member.root / f"stderr-{number}" for number in range(MANY)}
    with ExitStack() as stack:
        calls = []
        for room, path in complaints.items():
            stderr = stack.enter_context(path.open("w"))
            env = {"NSED_ROOM_ID": room, "NSED_CLAUDE_BIN": str(sleeping)}
            calls.append(stack.enter_context(member.start("-p", env=env, stderr=stderr)))
            stack.callback(calls[-1].kill)
        wait_until(lambda: all(is_claude(call.pid) for call in calls), "all run", 120)

        held = {room for room, path in complaints.items() if not path.read_text()}

        wait_until(lambda: followed(member) >= held, "all are followed", 120)
