"""`claude-shim help`: the list of topics, a page, a variable, a command, a warning, or none."""

from pathlib import Path

import pexpect
import pytest

from shim.base import settings
from shim.cli import pages
from shim.cli.tables import width
from shim.commands.claude_shim import SUBCOMMANDS
from tests.support import console
from tests.support.claude_shim import ask
from tests.support.recorder import PATIENCE, Run, World

TOPICS = pages.topics()


@pytest.fixture(autouse=True)
def with_what_a_new_machine_has(world: World) -> None:
    console.set_up(world)


def program(world: World) -> Path:
    return world.home / ".local" / "bin" / "claude-shim"


def shown(world: World, *args: str, columns: int = 80) -> str:
    run = ask(world, *args, env={"COLUMNS": str(columns)})
    assert (run.exit_code, run.stderr) == (0, b"")
    return run.stdout.decode()


def refused(world: World, *args: str) -> Run:
    run = ask(world, *args)
    assert (run.exit_code, run.stdout) == (1, b"")
    return run


def test_the_topics_are_listed_with_a_line_each(world: World) -> None:
    lines = shown(world, "help", columns=100).splitlines()
    assert {line.split()[0] for line in lines if line.startswith("  ")} >= TOPICS.keys()
    assert all(any(title in line for line in lines) for title in TOPICS.values())


def test_every_page_has_its_place_in_the_order() -> None:
    assert sorted(TOPICS) == sorted(page.stem for page in pages.FOLDER.glob("*.md"))


def test_the_help_of_the_command_itself_points_to_the_manual(world: World) -> None:
    assert "`claude-shim help`" in shown(world, "--help")


@pytest.mark.parametrize("columns", [80, 40])
@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_is_readable_at_any_width(world: World, topic: str, columns: int) -> None:
    page = shown(world, "help", topic, columns=columns)
    assert " ".join(page.split()).startswith(TOPICS[topic])
    # Code stays as it is.
    words = [line for line in page.splitlines() if not line.startswith("    ")]
    marks = ("\x1b", "**", "<!--", "```", "|--", "{{settings", "{{advice", "{{schemas")
    assert [line for line in words if any(mark in line for mark in marks)] == []
    # A word can be longer than a line, such as a path.
    assert [it for it in words if width(it) > columns and len(it.split()) > 1] == []


def test_each_variable_has_an_entry_and_a_place_in_the_page(world: World) -> None:
    page = " ".join(shown(world, "help", "environment").split())
    for name, setting in settings.table().items():
        assert " ".join(f"- `{name}`: {setting.meaning}".split()) in page
    assert "fork" in shown(world, "help", "NSED_ON_BUSY")


@pytest.mark.parametrize("command", [it for it in SUBCOMMANDS if it not in TOPICS])
def test_a_command_is_shown_with_its_own_help(world: World, command: str) -> None:
    assert shown(world, "help", command) == shown(world, command, "--help")


@pytest.mark.parametrize("columns", [40, 80])
def test_the_commands_are_grouped_by_what_one_wants_to_do(world: World, columns: int) -> None:
    page = shown(world, "--help", columns=columns)
    assert "Commands:" not in page
    section = page[page.index("Find, read and open conversations:\n") :].partition("\n\n")[0]
    rows = [line.split() for line in section.splitlines()[1:]]
    names = [words[0] for words in rows if words[0] in SUBCOMMANDS]
    assert names == ["list", "search", "read", "show", "open"]
    assert all(f"\n  {name} " in page for name in SUBCOMMANDS)
    assert "..." not in section  # no line is cut


def test_a_commands_own_subcommand_is_shown(world: World) -> None:
    assert "claude-shim opencode status" in shown(world, "help", "opencode", "status")


def test_what_to_do_about_a_warning_is_shown(world: World) -> None:
    warning = "claude-shim: NSED_ON_BUSY=x is none of wait, fork and fail: taken as unset"
    assert "Correct it" in shown(world, "help", warning)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [("enviroment", "environment"), ("NSED_ROOM", "NSED_ROOM_ID"), ("shwo", "show")],
)
def test_a_near_miss_is_named(world: World, asked: str, meant: str) -> None:
    warning = refused(world, "help", asked).warning
    assert f"there is no page on {asked!r}: did you mean" in warning
    assert repr(meant) in warning


def test_any_other_word_gets_a_hint_where_to_look(world: World) -> None:
    assert "`claude-shim help` lists what there is" in refused(world, "help", "xyzzy").warning


def test_topics_and_variables_are_completed(world: World) -> None:
    def completed(word: str) -> list[str]:
        line = {"COMP_WORDS": f"claude-shim help {word}", "COMP_CWORD": word}
        env = {"_CLAUDE_SHIM_COMPLETE": "fish_complete", **line}
        run = world.run(program=program(world), env=env)
        return [it.split("\t")[0].removeprefix("plain,") for it in run.stdout.decode().splitlines()]

    assert completed("con") == ["conversations", "containers"]
    assert completed("NSED_K") == ["NSED_KEEP_DAYS"]


def on_a_terminal(world: World, topic: str, **variables: str) -> str:
    environment = {**world.environment, "TERM": "xterm", **variables}
    process = pexpect.spawn(
        str(program(world)),
        ["help", topic],
        env={name: str(value) for name, value in environment.items()},
        encoding="utf-8",
        timeout=PATIENCE,
    )
    process.expect(pexpect.EOF)
    process.close()
    assert process.exitstatus == 0
    return str(process.before)


def test_a_long_page_is_paged_on_a_terminal(world: World) -> None:
    page = on_a_terminal(world, "callers", PAGER="sed s/^/:/")
    assert ":  A program that looks up" in page


def test_a_short_one_is_shown_at_once(world: World) -> None:
    assert "75    busy:" in on_a_terminal(world, "exit-codes", PAGER="false", LINES="50")


def test_headings_are_bold_on_a_terminal_and_with_no_color_nothing_is(world: World) -> None:
    assert "\x1b[1mWhat each" in on_a_terminal(world, "exit-codes", LINES="50")
    assert "\x1b" not in on_a_terminal(world, "exit-codes", LINES="50", NO_COLOR="1")
