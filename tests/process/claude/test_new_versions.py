"""A claude of tomorrow: what its help says is heeded at the next call."""

from pathlib import Path

from tests.support.recorder import World, derived

HELP = """\
Usage: claude [options] [command] [prompt]

Options:
  -p, --print                           Print response and exit
  -r, --resume [value]                  Resume a conversation
  --session-id <uuid>                   Use a specific session ID{option}

Commands:
  mcp                                   Configure servers{command}
"""
OPTION = "\n  --brand-new <value>                   Takes a value"
COMMAND = "\n  brew <pot>                            Makes tea"


def claude_with_help(world: World, directory: Path, option: str = "", command: str = "") -> Path:
    """A program that prints such a help, and else records as claude."""
    directory.mkdir()
    (directory / "help").write_text(HELP.format(option=option, command=command))
    program = directory / "claude"
    program.write_text(
        f'#!/bin/sh\n[ "$*" = --help ] && exec /bin/cat {directory}/help\n'
        f'exec {world.claude.path} "$@"\n'
    )
    program.chmod(0o755)
    return program


def told(world: World, *args: str) -> list[str]:
    run = world.run(*args)
    assert (run.exit_code, run.stderr) == (0, b"")
    return [arg.decode() for arg in world.claude.calls[-1].args]


def test_a_new_option_and_a_new_subcommand_are_understood(world: World, tmp_path: Path) -> None:
    claude = claude_with_help(world, tmp_path / "new", OPTION, COMMAND)
    world.environment |= {"NSED_ROOM_ID": "r", "NSED_CLAUDE_BIN": str(claude)}

    assert told(world, "brew", "tea") == ["brew", "tea"]
    hidden_by_the_value = ["--brand-new", "--resume", "hi"]
    started = ["--session-id", derived("r"), *hidden_by_the_value]
    assert told(world, *hidden_by_the_value) == started


def test_an_update_is_noticed_at_the_next_call(world: World, tmp_path: Path) -> None:
    old = claude_with_help(world, tmp_path / "old")
    new = claude_with_help(world, tmp_path / "new", OPTION, COMMAND)
    link = tmp_path / "claude"
    link.symlink_to(old)
    world.environment |= {"NSED_ROOM_ID": "r", "NSED_CLAUDE_BIN": str(link)}
    ours = ["--session-id", derived("r")]

    assert told(world, "brew", "tea") == [*ours, "brew", "tea"]
    link.unlink()
    link.symlink_to(new)
    assert told(world, "brew", "tea") == ["brew", "tea"]
    new.replace(old)
    link.unlink()
    link.symlink_to(old)
    assert told(world, "brew", "tea") == ["brew", "tea"]


def test_a_claude_without_plugins_gets_none(world: World, tmp_path: Path) -> None:
    claude = claude_with_help(world, tmp_path / "old")
    world.environment |= {"NSED_ROOM_ID": "r", "NSED_CLAUDE_BIN": str(claude)}
    streaming = ["--input-format=stream-json"]
    assert told(world, *streaming) == ["--session-id", derived("r"), *streaming]
