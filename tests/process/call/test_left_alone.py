"""Calls whose conversation the shim has no say in, though there is a room."""

import pytest

from tests.support.recorder import World, derived

ROOM = "a room"
U = derived(ROOM)
OTHER = "6f2a0d3e-58b1-4c53-9d1c-2b8a3f0e7c11"

LEFT_ALONE = [
    # subcommands
    ["update"],
    ["mcp", "list"],
    ["doctor"],
    ["setup-token"],
    ["plugin", "install", "x"],
    ["--model", "opus", "mcp", "add", "--", "npx", "server"],
    ["--model=opus", "auth", "login"],
    # what claude 2.1.330 takes for one in first place only, before it reads options
    ["--update"],
    ["--upgrade"],
    ["self-hosted-runner", "setup"],
    ["remote"],
    ["sync"],
    ["bridge"],
    ["--claude-in-chrome-mcp"],
    ["--chrome-native-host"],
    # what answers and exits
    ["--help"],
    ["-h"],
    ["--version"],
    ["-v"],
    ["-V"],
    ["-pv"],
    ["-p", "hi", "--help"],
    # the caller chose the conversation
    ["-c"],
    ["--continue"],
    ["-p", "-c", "go on"],
    ["-pc", "go on"],
    ["-cp", "go on"],
    ["-r"],
    ["--resume"],
    ["-r", OTHER],
    ["-r" + OTHER],
    ["-pr", OTHER],
    ["-pr" + OTHER],
    ["--resume", OTHER, "hi"],
    ["--resume=" + OTHER],
    ["--resume=", "hi"],
    ["-p", "hi", "--resume", "/elsewhere/conversation.jsonl"],
    ["--from-pr", "7"],
    ["--from-pr=7"],
    ["--from-pr"],
    ["--fork-session", "--resume", OTHER, "--session-id", U],
    ["--fork-session", "-c"],
    ["--teleport"],
    ["--teleport", "session_1"],
    ["--cloud", "do it"],
    ["--remote", "do it"],
    # it wants none kept
    ["-p", "hi", "--no-session-persistence"],
    # it detaches
    ["--bg", "work"],
    ["--background", "work"],
    ["--tmux"],
    ["--tmux=classic", "--worktree", "x"],
    # it names a conversation that does not exist yet
    ["--session-id", OTHER, "-p", "hi"],
    ["-p", "hi", "--session-id=" + OTHER],
    # what claude will refuse
    ["--session-id"],
    ["--session-id", "not-a-uuid", "-p"],
]

ACQUIRED = [
    ["continue"],
    ["-p", "resume"],
    ["-p", "--", "--resume"],
    ["--", "-c"],
    ["--", "-h"],
    ["--append-system-prompt", "--resume", "hi"],
    ["-p", "--system-prompt", "--help"],
    ["--model", "--continue", "-p"],
    ["--model=-c"],
    ["-m", "update", "hi"],
    ["-mc", "hi"],
    ["-p", "--disallowedTools", "update", "mcp"],
    ["--add-dir", "mcp", "update"],
    ["-p", "please update"],
    ["-p", "update"],
    ["-p", "--", "update"],
    ["config", "get", "theme"],
    ["-d", "mcp", "hi"],
    ["--debug=x", "-p"],
    ["--mcp-config", "a.json", "b.json", "-p"],
]


@pytest.mark.parametrize("args", LEFT_ALONE, ids=" ".join)
def test_claude_gets_the_call_untouched(world: World, args: list[str]) -> None:
    world.transcript(U)

    call = world.call(*args, env={"NSED_ROOM_ID": ROOM})

    assert call.args == [arg.encode() for arg in args]
    assert call.variable("NSED_AGENT_NAME") is None
    assert not world.store.exists()


@pytest.mark.parametrize("args", ACQUIRED, ids=" ".join)
def test_what_only_looks_like_it_continues_the_rooms_conversation(
    world: World, args: list[str]
) -> None:
    world.transcript(U)

    call = world.call(*args, env={"NSED_ROOM_ID": ROOM})

    assert call.args == [arg.encode() for arg in ["--resume", U, *args]]
    assert world.mappings == {ROOM: {"claude": U}}


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_a_disabled_shim_leaves_claude_alone(world: World, value: str) -> None:
    call = world.call("-p", "hi", env={"NSED_ROOM_ID": ROOM, "NSED_SHIM_DISABLE": value})

    assert call.args == [b"-p", b"hi"]
    assert call.variable("NSED_AGENT_NAME") is None
    assert not world.store.exists()


@pytest.mark.parametrize("value", ["", "0"])
def test_a_shim_that_is_not_disabled_does_its_work(world: World, value: str) -> None:
    call = world.call("-p", env={"NSED_ROOM_ID": ROOM, "NSED_SHIM_DISABLE": value})
    assert call.args == [b"--session-id", U.encode(), b"-p"]


def test_empty_names_are_no_names(world: World) -> None:
    call = world.call("-p", env={"NSED_ROOM_ID": "", "NSED_AGENT_NAME": ""})
    assert call.args == [b"-p"]
    assert call.variable("NSED_ROOM_ID") == b""
