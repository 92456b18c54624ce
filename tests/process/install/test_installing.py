"""What `claude-shim install` and `uninstall` say, try and leave behind."""

import sys
from pathlib import Path

import pytest

import shim
from tests.support.recorder import Run, World, write_program

PACKAGE = Path(shim.__file__).parent


@pytest.fixture(autouse=True)
def claude(world: World) -> None:
    """A claude that says its version."""
    write_program(world.claude.path, "#!/bin/sh\necho '2.1.330 (Claude Code)'\n")
    world.path(world.claude.path.parent, "/usr/bin", "/bin")
    world.environment |= {"SHELL": "/bin/zsh", "XDG_CONFIG_HOME": str(world.home / "config")}


def claude_shim(world: World, *args: str) -> Run:
    program = "from shim.commands.__main__ import main; main()"
    env = {"PYTHONPATH": str(PACKAGE.parent)}
    return world.run("-c", program, *args, program=Path(sys.executable), env=env)


def said(world: World, *args: str) -> str:
    run = claude_shim(world, *args)
    assert (run.exit_code, run.stderr) == (0, b"")
    return run.stdout.decode().replace(str(world.root), "ROOT")


def plugin(world: World) -> Path:
    return world.home / "config" / "opencode" / "plugin" / "claude-shim.js"


def test_install_says_what_it_runs_and_what_to_do_next(world: World) -> None:
    assert said(world, "install") == (
        "The launcher is ROOT/home/.nsed/bin/claude\n"
        "It runs ROOT/real/claude, which says: 2.1.330 (Claude Code)\n"
        "Put it first on PATH with this line, last in ~/.zshrc:\n"
        '  eval "$(claude-shim init zsh)"\n'
        "Then, in a new shell, `claude-shim doctor` checks it all. For this shell alone:\n"
        "  export PATH=ROOT/home/.nsed/bin:$PATH\n"
    )


def test_install_in_another_directory_names_it_in_the_line(world: World) -> None:
    output = said(world, "install", "--bin-dir", str(world.root / "a bin"))
    assert "  eval \"$(claude-shim init zsh --bin-dir 'ROOT/a bin')\"\n" in output


def test_install_without_a_claude_says_where_to_get_one(world: World) -> None:
    world.path("/usr/bin", "/bin")
    assert "npm install -g @anthropic-ai/claude-code" in said(world, "install")


def test_install_fails_where_the_launcher_does_not_get_to_claude(world: World) -> None:
    write_program(world.claude.path, "#!/bin/sh\necho out of memory >&2\nexit 3\n")
    run = claude_shim(world, "install")
    assert run.exit_code == 1
    assert "claude --version` fails: it exits with 3: out of memory" in run.warning


def test_install_makes_the_stores_directory_private(world: World) -> None:
    said(world, "install")
    assert world.store.parent.stat().st_mode & 0o777 == 0o700


def test_install_touches_no_conversation(world: World) -> None:
    world.environment |= {"NSED_ROOM_ID": "r", "NSED_AGENT_NAME": "a"}
    said(world, "install")
    assert [path.name for path in world.store.parent.iterdir()] == ["bin"]


def test_uninstall_names_what_the_fleets_server_stores(world: World) -> None:
    said(world, "install")
    data = world.store.parent / "server" / "data"
    data.mkdir(parents=True)
    (data / "1.blk").write_text("x" * 3000)

    assert (
        "That removes what the fleet's server here stores, too: 3.0 kB in"
        " ROOT/home/.nsed/server/data\n"
    ) in said(world, "uninstall")


def test_uninstall_says_what_stays_and_how_to_remove_it(world: World) -> None:
    said(world, "install")
    said(world, "opencode", "install")
    kept = world.store.parent / "kept"
    kept.mkdir()
    (kept / "some.jsonl").write_text("x" * 2000)

    assert said(world, "uninstall") == (
        "Removed ROOT/home/.nsed/bin/claude\n"
        "If your shell's start-up file runs `claude-shim init`, remove that line.\n"
        "A shell that has run it may remember it: run `hash -r`, or open a new one.\n"
        "The store stays, with 2.0 kB of conversations that outlive claude's clean-up."
        " To remove it:\n"
        "  rm -r ROOT/home/.nsed\n"
        "Conversations are claude's own files, in ~/.claude/projects\n"
        "OpenCode still has its plugin: claude-shim opencode uninstall\n"
    )
    assert plugin(world).exists()

    said(world, "opencode", "uninstall")
    assert "OpenCode" not in said(world, "uninstall")
