"""Which program is run as claude, and what is said where there is none."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.recorder import Recorder, Text, World, derived, write_program

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


@pytest.mark.parametrize("named", ["/nowhere/claude", "no-such-claude", "/etc/passwd", "/tmp"])
def test_a_name_that_leads_nowhere_is_one_warning_and_path_is_used(
    world: World, named: str
) -> None:
    run = world.run("-p", env={"NSED_CLAUDE_BIN": named})

    assert named in run.warning
    assert run.exit_code == 0
    assert world.claude.calls[0].args == [b"-p"]


@pytest.mark.parametrize("named", ["the launcher", "claude"])
def test_a_name_that_leads_to_a_launcher_is_no_loop(world: World, named: str) -> None:
    world.environment["NSED_CLAUDE_BIN"] = str(world.launcher) if named != "claude" else named
    run = world.run("-p")
    assert run.exit_code == 0
    assert len(world.claude.calls) == 1


# Along PATH


def copy_of_launcher(world: World, name: str) -> Path:
    directory = world.root / name
    directory.mkdir()
    shutil.copy(world.launcher, directory / "claude")
    return directory


def link_to_launcher(world: World, name: str) -> Path:
    directory = world.root / name
    directory.mkdir()
    (directory / "claude").symlink_to(world.launcher)
    return directory


def test_no_launcher_of_ours_is_taken_for_claude(world: World) -> None:
    copy, link = copy_of_launcher(world, "copy"), link_to_launcher(world, "link")
    here, real = world.launcher.parent, world.claude.path.parent
    world.path(here, copy, here, link, copy, f"{here}/.", real)

    assert ran(world) == world.claude.path


def test_a_launcher_run_by_a_link_or_from_a_copy_finds_claude(world: World) -> None:
    for directory in (copy_of_launcher(world, "copy"), link_to_launcher(world, "link")):
        world.path(directory, world.launcher.parent, directory, world.claude.path.parent)
        assert world.call("-p", program=directory / "claude").program == world.claude.path


def test_the_first_claude_on_path_is_run(world: World) -> None:
    second = Recorder(world.root / "second")
    world.path(world.launcher.parent, world.claude.path.parent, second.path.parent)
    assert ran(world) == world.claude.path
    assert second.calls == []


def test_a_claude_before_the_launcher_on_path_counts_too(world: World) -> None:
    world.path(world.claude.path.parent, world.launcher.parent)
    assert ran(world) == world.claude.path


def test_an_empty_element_of_path_is_the_working_directory(world: World) -> None:
    world.path(world.launcher.parent, "", "/nowhere")
    world.claude.path.rename(world.directory / "claude")
    assert (world.directory / ran(world)).resolve() == world.directory / "claude"


def test_what_cannot_be_run_is_passed_over(world: World) -> None:
    (world.root / "directory" / "claude").mkdir(parents=True)
    write_program(world.root / "text" / "claude", "no program").chmod(0o644)
    (world.root / "dangling").mkdir()
    (world.root / "dangling" / "claude").symlink_to("nowhere")
    (world.root / "fifo").mkdir()
    os.mkfifo(world.root / "fifo" / "claude", 0o777)
    bad = [world.root / name for name in ("directory", "text", "dangling", "fifo", "none")]
    world.path(world.launcher.parent, *bad, world.launcher, world.claude.path.parent)

    assert ran(world) == world.claude.path


def test_a_claude_that_the_system_refuses_to_run_is_one_message_and_exit_126(
    world: World,
) -> None:
    write_program(world.claude.path, "#!/no/such/interpreter\n")

    run = world.run("-p")

    assert run.exit_code == 126
    assert str(world.claude.path) in run.lines[-1]
    assert all(line.startswith("claude-shim: ") for line in run.lines)


@pytest.mark.parametrize(
    "place",
    [".local/bin", ".claude/local", ".npm-global/bin", "node_modules/.bin", ".yarn/bin"],
)
def test_a_claude_in_a_usual_place_needs_no_path(world: World, place: str) -> None:
    world.claude = Recorder(world.home / place)
    world.path(world.launcher.parent)
    assert ran(world) == world.claude.path


def test_path_goes_before_the_usual_places(world: World) -> None:
    usual = Recorder(world.home / ".local/bin")
    assert ran(world) == world.claude.path
    assert usual.calls == []


@pytest.mark.parametrize("room", [None, "a room"])
def test_without_a_claude_it_says_how_to_install_one(world: World, room: str | None) -> None:
    world.path(world.launcher.parent)

    run = world.run("-p", env={"NSED_ROOM_ID": room})

    assert run.exit_code == 127
    assert "npm install -g @anthropic-ai/claude-code" in run.warning


# Another tool's wrapper


@pytest.mark.parametrize("transcript", [None, "no transcript", "a transcript"])
def test_a_wrapper_that_comes_back_to_us_ends_in_the_real_claude(
    world: World, transcript: str | None
) -> None:
    wrapper = write_program(world.root / "wrapper" / "claude", WRAPPER)
    world.path(world.launcher.parent, wrapper.parent, world.claude.path.parent)
    expected = [b"-p", b"hi"]
    if transcript:
        world.environment["NSED_ROOM_ID"] = "r"
        expected = [b"--session-id", derived("r").encode(), *expected]
    if transcript == "a transcript":
        world.transcript(derived("r"))
        expected[0] = b"--resume"

    assert world.call("-p", "hi").args == expected


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
def test_a_wrapper_that_only_comes_back_to_us_is_one_message_and_exit_126(
    world: World, room: str | None
) -> None:
    wrapper = write_program(world.root / "wrapper" / "claude", WRAPPER)
    world.path(world.launcher.parent, wrapper.parent)

    run = world.run("-p", env={"NSED_ROOM_ID": room})

    assert run.exit_code == 126
    assert str(wrapper) in run.warning
    assert "NSED_CLAUDE_BIN" in run.warning


def test_a_wrapper_that_is_named_as_claude_and_comes_back_to_us_is_left_for_the_real_one(
    world: World,
) -> None:
    wrapper = write_program(world.root / "wrapper" / "claude", WRAPPER)
    world.environment["NSED_CLAUDE_BIN"] = str(wrapper)
    assert ran(world) == world.claude.path
    assert world.claude.calls[0].variable("NSED_CLAUDE_BIN") == str(wrapper).encode()


def test_a_claude_that_runs_claude_again_is_no_loop(world: World) -> None:
    # A child of claude inherits its environment, but not what the shim knows of its own process.
    path = world.environment["PATH"]
    world.claude.then(f'[ "$1" = again ] || PATH={path} {world.launcher} again')
    run = world.run("first")
    assert (run.exit_code, run.stderr) == (0, b"")
    assert [call.args for call in world.claude.calls] == [[b"first"], [b"again"]]
