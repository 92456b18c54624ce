"""Which program the launcher takes for claude, and what it says where there is none."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.recorder import Recorder, Text, World, derived, write_program

OLD_LAUNCHER = "#!/usr/bin/python3 -IS\n# claude-shim launcher: made by `claude-shim install`.\n"

# Another tool's wrapper: it runs the next `claude` on PATH that is not itself.
WRAPPER = """\
#!/bin/sh
IFS=:
for directory in $PATH; do
  if [ -x "$directory/claude" ] && ! [ "$directory/claude" -ef "$0" ]; then
    exec "$directory/claude" "$@"
  fi
done
exit 99
"""


def ran(world: World) -> Path:
    """The program that is run as claude, without a word."""
    return world.call("-p").program


def listed(world: World) -> list[str]:
    """What the launcher answers when it is asked which claudes there are."""
    link = world.root / "claude-shim-which"
    if not link.is_symlink():
        link.symlink_to(world.launcher)
    run = world.run(program=link)
    assert run.stderr == b""
    return [os.fsdecode(path) for path in run.stdout.split(b"\0")[:-1]]


# NSED_CLAUDE_BIN


def test_the_named_program_is_run(world: World) -> None:
    other = world.root / "elsewhere" / "my-claude"
    other.parent.mkdir()
    world.claude.path.rename(other)
    world.environment["NSED_CLAUDE_BIN"] = str(other)
    assert ran(world) == other


def test_a_bare_name_is_looked_for_along_path(world: World) -> None:
    other = world.claude.path.with_name("claude-2")
    world.claude.path.rename(other)
    world.environment["NSED_CLAUDE_BIN"] = "claude-2"
    assert ran(world) == other


@pytest.mark.parametrize(
    "named", ["/nowhere/claude", "no-such-claude", "/etc/passwd", "/tmp", "x" * 100_000, "a\nb"]
)
def test_a_name_that_leads_nowhere_is_one_warning_and_path_is_used(
    world: World, named: str
) -> None:
    run = world.run("-p", env={"NSED_CLAUDE_BIN": named})

    assert named[:500].replace("\n", " ") in run.warning
    assert run.exit_code == 0
    assert world.claude.calls[0].args == [b"-p"]


@pytest.mark.parametrize("named", ["the launcher", "claude"])
def test_a_name_that_leads_to_a_launcher_is_no_loop(world: World, named: str) -> None:
    world.environment["NSED_CLAUDE_BIN"] = str(world.launcher) if named != "claude" else named
    run = world.run("-p")
    assert run.exit_code == 0
    assert len(world.claude.calls) == 1


# Along PATH


def test_no_launcher_of_ours_is_taken_for_claude(world: World) -> None:
    copy, link, old, hard = (world.root / name for name in ("copy", "link", "old", "hard"))
    for directory in (copy, link, hard):
        directory.mkdir()
    shutil.copy(world.launcher, copy / "claude")
    (link / "claude").symlink_to(world.launcher)
    (hard / "claude").hardlink_to(world.launcher)
    write_program(old / "claude", OLD_LAUNCHER)
    here, real = world.launcher.parent, world.claude.path.parent
    world.path(here, copy, old, here, link, hard, copy, f"{here}/.", f"{here}//", real)

    assert listed(world) == [str(world.claude.path)]
    for directory in (here, copy, link, hard):
        call = world.call("-p", program=directory / "claude")
        assert call.program == world.claude.path


def test_a_program_that_cannot_be_read_may_be_claude(world: World) -> None:
    world.claude.path.chmod(0o711)
    assert ran(world) == world.claude.path


def test_the_first_claude_on_path_is_run(world: World) -> None:
    second = Recorder(world.root / "second")
    world.path(world.launcher.parent, world.claude.path.parent, second.path.parent)
    assert ran(world) == world.claude.path
    assert second.calls == []
    assert listed(world) == [str(world.claude.path), str(second.path)]


def test_a_claude_before_the_launcher_on_path_counts_too(world: World) -> None:
    world.path(world.claude.path.parent, world.launcher.parent)
    assert ran(world) == world.claude.path


@pytest.mark.parametrize("path", [":/nowhere", "/nowhere:", "/nowhere::/nowhere", ":", "."])
def test_an_empty_element_of_path_is_the_working_directory(world: World, path: str) -> None:
    world.environment["PATH"] = path
    world.claude.path.rename(world.directory / "claude")
    assert (world.directory / ran(world)).resolve() == world.directory / "claude"


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_path_the_systems_own_is_used(world: World, path: str | None) -> None:
    world.environment["NSED_CLAUDE_BIN"] = "true"
    run = world.run("-p", env={"PATH": path})
    assert (run.exit_code, run.stderr) == (0, b"")


def test_what_cannot_be_run_is_passed_over(world: World) -> None:
    (world.root / "directory" / "claude").mkdir(parents=True)
    write_program(world.root / "text" / "claude", "no program").chmod(0o644)
    for name in ("dangling", "round", "fifo", "device"):
        (world.root / name).mkdir()
    (world.root / "dangling" / "claude").symlink_to("nowhere")
    (world.root / "round" / "claude").symlink_to("claude")
    (world.root / "device" / "claude").symlink_to("/dev/zero")
    os.mkfifo(world.root / "fifo" / "claude", 0o777)
    names = ("directory", "text", "dangling", "round", "fifo", "device", "none", "x" * 5000)
    bad = [world.root / name for name in names]
    world.path(world.launcher.parent, *bad, world.launcher, world.claude.path.parent)

    assert ran(world) == world.claude.path


@pytest.mark.parametrize("room", [None, "r"])
def test_a_claude_that_the_system_refuses_to_run_is_exit_126(
    world: World, room: str | None
) -> None:
    write_program(world.claude.path, "#!/no/such/interpreter\n")
    (world.launcher.parent / ".claude-shim").unlink()

    run = world.run("-p", env={"NSED_ROOM_ID": room})

    assert run.exit_code == 126
    assert str(world.claude.path) in run.lines[-1]
    assert all(line.startswith("claude-shim: ") for line in run.lines)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\n",
        b"<!DOCTYPE html>\n<p>blocked",
        b"\x7fELF\x02\x01\x01",
        b"404: Not Found",
        b"a\0b",
    ],
)
def test_a_file_that_is_no_program_and_no_script_is_exit_126(world: World, content: bytes) -> None:
    world.claude.path.write_bytes(content)

    run = world.run("-p", "hi")

    assert (run.exit_code, run.stdout) == (126, b"")
    assert run.lines[-1] == f"claude-shim: {world.claude.path} cannot be run: Exec format error"


@pytest.mark.parametrize("start", ["\n# a wrapper\n", "IFS=' '\n", "/bin/echo -n; ", '"true"\n'])
def test_text_that_begins_like_a_script_is_run_by_a_shell(world: World, start: str) -> None:
    write_program(world.claude.path, start + "echo ran")
    run = world.run("-p", "hi")
    assert (run.exit_code, run.stdout) == (0, b"ran\n")


@pytest.mark.parametrize("args", [[], ["-p"], ["a b", "", "c"]], ids=repr)
def test_a_script_without_a_first_line_is_run_by_a_shell(world: World, args: list[str]) -> None:
    write_program(world.claude.path, 'printf "[%s]" "$0" "$@"')
    run = world.run(*args)
    assert run.stdout.decode() == "".join(f"[{word}]" for word in [world.claude.path, *args])


@pytest.mark.parametrize(
    "place",
    [".local/bin", ".claude/local", ".npm-global/bin", "node_modules/.bin", ".yarn/bin"],
)
def test_a_claude_in_a_usual_place_needs_no_path(world: World, place: str) -> None:
    world.claude = Recorder(world.home / place)
    world.path(world.launcher.parent)
    assert ran(world) == world.claude.path


@pytest.mark.parametrize("home", [".", "home", "x" * 5000])
def test_a_usual_place_is_never_in_the_working_directory(world: World, home: str) -> None:
    for directory in (world.directory, world.directory / "home"):
        Recorder(directory / ".local/bin")
    world.path(world.launcher.parent)
    assert world.run("-p", env={"HOME": home}).exit_code == 127


def test_path_goes_before_the_usual_places(world: World) -> None:
    usual = Recorder(world.home / ".local/bin")
    assert ran(world) == world.claude.path
    assert listed(world) == [str(world.claude.path), str(usual.path)]


@pytest.mark.parametrize("room", [None, "a room"])
def test_without_a_claude_it_says_how_to_install_one(world: World, room: str | None) -> None:
    world.path(world.launcher.parent)

    run = world.run("-p", env={"NSED_ROOM_ID": room})

    assert run.exit_code == 127
    assert "npm install -g @anthropic-ai/claude-code" in run.warning
    assert listed(world) == []


def test_without_a_home_the_users_own_is_looked_at(world: World) -> None:
    world.path(world.launcher.parent)
    run = world.run("-p", env={"HOME": None, "NSED_CLAUDE_BIN": "true", "PATH": "/bin"})
    assert run.exit_code == 0


# Another tool's wrapper


@pytest.mark.parametrize("room", [None, "a room"])
def test_a_wrapper_that_comes_back_to_us_ends_in_the_real_claude(
    world: World, room: str | None
) -> None:
    wrapper = write_program(world.root / "a wrapper" / "claude", WRAPPER)
    world.path(world.launcher.parent, wrapper.parent, world.claude.path.parent)
    call = world.call("-p", "hi", env={"NSED_ROOM_ID": room})
    assert call.args[-2:] == [b"-p", b"hi"]


def test_two_wrappers_that_come_back_to_us_end_in_the_real_claude(world: World) -> None:
    one = write_program(world.root / "one" / "claude", WRAPPER)
    two = write_program(world.root / "two" / "claude", WRAPPER)
    world.path(world.launcher.parent, one.parent, two.parent, world.claude.path.parent)
    assert ran(world) == world.claude.path


def test_a_wrapper_in_front_of_us_is_no_loop(world: World) -> None:
    wrapper = write_program(world.root / "wrapper" / "claude", WRAPPER)
    world.path(wrapper.parent, world.launcher.parent, world.claude.path.parent)
    assert world.call("-p", program=wrapper).program == world.claude.path


@pytest.mark.parametrize("name", [b"caf\xc3\xa9", b"\xff\xa4"], ids=["UTF-8", "neither"])
def test_a_wrapper_whose_path_the_locale_cannot_spell_is_no_loop(
    world: World, japanese: Mapping[str, Text], name: bytes
) -> None:
    directory = world.root / os.fsdecode(name)
    write_program(directory / "claude", WRAPPER)
    world.path(world.launcher.parent, directory, world.claude.path.parent)
    assert world.call("-p", env=japanese).program == world.claude.path


@pytest.mark.parametrize("room", [None, "a room"])
def test_wrappers_that_only_come_back_to_us_are_one_message_and_exit_126(
    world: World, room: str | None
) -> None:
    one = write_program(world.root / "one" / "claude", WRAPPER)
    two = write_program(world.root / "two" / "claude", WRAPPER)
    world.path(world.launcher.parent, one.parent, two.parent)

    run = world.run("-p", env={"NSED_ROOM_ID": room})

    assert run.exit_code == 126
    assert f"{one} and {two}" in run.warning
    assert "NSED_CLAUDE_BIN" in run.warning


@pytest.mark.parametrize("name", ["wrapper", "a:b"])
def test_a_wrapper_that_is_named_as_claude_and_comes_back_is_left_for_the_real_one(
    world: World, name: str
) -> None:
    wrapper = write_program(world.root / name / "claude", WRAPPER)
    world.environment["NSED_CLAUDE_BIN"] = str(wrapper)
    assert ran(world) == world.claude.path


@pytest.mark.parametrize("chain", ["", "1:/x", "x", ":", "99999999999999999999:/x", "x" * 100_000])
def test_a_mark_of_another_process_is_not_heeded_and_does_not_reach_claude(
    world: World, chain: str
) -> None:
    call = world.call("-p", env={"NSED_SHIM_CHAIN": chain})
    assert call.variable("NSED_SHIM_CHAIN") is None


def test_a_claude_that_runs_claude_again_is_no_loop(world: World) -> None:
    path = world.environment["PATH"]
    world.claude.then(f'[ "$1" = again ] || PATH={path} {world.launcher} again')
    run = world.run("first")
    assert (run.exit_code, run.stderr) == (0, b"")
    assert [call.args for call in world.claude.calls] == [[b"first"], [b"again"]]


@pytest.mark.parametrize("transcript", [False, True])
def test_with_the_package_a_wrapper_that_comes_back_continues_the_conversation(
    world: World, launcher_path: Path, transcript: bool
) -> None:
    world.launcher = launcher_path
    wrapper = write_program(world.root / "wrapper" / "claude", WRAPPER)
    world.path(launcher_path.parent, wrapper.parent, world.claude.path.parent)
    if transcript:
        world.transcript(derived("r"))

    call = world.call("-p", "hi", env={"NSED_ROOM_ID": "r"})

    flag = b"--resume" if transcript else b"--session-id"
    assert call.args == [flag, derived("r").encode(), b"-p", b"hi"]
