"""The commands that people try first: `open`, `status`, `version`, `completion`, and their JSON."""

import json
import subprocess

import pytest

from tests.support.claude_shim import ask_process, exit_code, printed, refused, terminal
from tests.support.recorder import Call, World, derived
from tests.support.rooms import U, V, entry, live, store, transcript


def opened(world: World, *args: str) -> tuple[Call, bytes]:
    """What reaches claude, and what is said on the way."""
    run = ask_process(world, "open", *args)
    assert run.exit_code == 0
    return world.claude.calls[-1], run.stderr


def test_open_resumes_a_room(world: World) -> None:
    store(world, {"refactor": {"planner": entry(U)}})
    transcript(world, U, str(world.directory))
    call, said = opened(world, "refactor")
    assert (call.args[0], said) == (b"--resume", b"")
    assert call.variable("NSED_ROOM_ID") == b"refactor"
    assert call.variable("NSED_AGENT_NAME") == b"planner"


def test_open_runs_in_the_conversations_directory_and_says_so(world: World) -> None:
    store(world, {"refactor": {"planner": entry(U)}})
    other = world.root / "other tree"
    other.mkdir()
    transcript(world, U, str(other))
    call, said = opened(world, "refactor")
    assert call.directory == other
    line = f"running in {other}, the conversation's directory; --here stays in this one"
    assert said.decode() == f"claude-shim: {line}\n"
    call, said = opened(world, "refactor", "--here")
    assert (call.directory, said) == (world.directory, b"")


def test_open_runs_here_where_the_conversations_directory_is_gone(world: World) -> None:
    store(world, {"refactor": {"planner": entry(U)}})
    transcript(world, U, "/nowhere")
    call, said = opened(world, "refactor")
    assert call.directory == world.directory
    assert b"running here: /nowhere, the conversation's directory: No such" in said


def test_open_hands_claude_what_is_behind_the_dashes(world: World) -> None:
    call, said = opened(world, "new", "coder", "--", "-p", "--", "room")
    assert call.args == [b"--session-id", derived("new", "coder").encode(), b"-p", b"--", b"room"]
    assert said == b"claude-shim: room 'new' is new\n"
    call, _ = opened(world, "--", "-odd-", "--", "-p")
    assert call.variable("NSED_ROOM_ID") == b"-odd-"


@pytest.mark.parametrize("answer", ["n", "y"])
def test_open_asks_before_it_makes_a_room_with_nearly_the_name_of_another(
    world: World, answer: str
) -> None:
    store(world, {"refactor": {"planner": entry(U)}})
    with terminal(world, "open", "refactr") as child:
        child.expect_exact("room 'refactr' is new: did you mean 'refactor'?")
        child.expect_exact("Create it?")
        child.sendline(answer)
        assert exit_code(child) == (0 if answer == "y" else 1)
    assert len(world.claude.calls) == (answer == "y")


def test_link_names_the_argument_that_is_missing(world: World) -> None:
    warning = refused(world, "link", "refactor", exit_code=2)
    assert warning == "Missing argument 'ID'. `claude-shim link --help` helps."


def test_open_without_a_launcher_says_so(world: World) -> None:
    world.path(world.claude.path.parent)
    assert refused(world, "open", "r").endswith("`claude-shim install` writes it")


def test_status_is_one_screen(world: World) -> None:
    store(world, {"r": {"a": entry(U), "b": entry(V)}, "s": {"a": entry(U)}})
    transcript(world, U)
    with live(world, "r", "a"):
        said = printed(world, "status").splitlines()
        found = json.loads(printed(world, "status", "--json"))
    labels = [line.split(None, 1) for line in said]
    assert [label for label, _ in labels] == ["Launcher", "Claude", "Rooms", "Live", "Doctor"]
    assert labels[0][1].endswith(", first on PATH")
    assert labels[1][1] == str(world.claude.path)
    assert labels[2][1] == "2, with 1 conversation"
    assert labels[3][1].startswith("r a (")
    assert found["live"] == [{"room": "r", "agent": "a", "session_id": U}]
    assert (found["claude"], found["first_on_path"]) == (str(world.claude.path), True)


@pytest.mark.parametrize("words", [["version"], ["-V"], ["--version"]])
def test_version(world: World, words: list[str]) -> None:
    assert printed(world, *words).startswith("claude-shim ")


def test_a_word_that_is_missing_is_said_on_one_line_with_what_it_can_be(world: World) -> None:
    said = refused(world, "completion", exit_code=2)
    assert "Choose from: bash, zsh, fish. `claude-shim completion --help` helps." in said


@pytest.mark.parametrize(("word", "meant"), [("ls", ["list"]), ("rm", ["forget", "delete"])])
def test_words_of_other_programs_are_understood(world: World, word: str, meant: list[str]) -> None:
    said = refused(world, word, exit_code=2)
    assert all(f"'{name}'" in said for name in meant)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_code_that_the_shell_takes(world: World, shell: str) -> None:
    code = printed(world, "completion", shell)
    assert "_CLAUDE_SHIM_COMPLETE" in code
    assert ".nsed/bin" not in code
    done = subprocess.run(["bash", "-n"], input=code.encode()) if shell == "bash" else None
    assert done is None or done.returncode == 0


def test_results_have_the_same_keys_as_json(world: World) -> None:
    store(world, {"r": {"claude": entry(U)}})
    transcript(world, U)
    assert json.loads(printed(world, "which", "--json")) == {
        "claude": str(world.claude.path),
        "all": [str(world.claude.path)],
    }
    (forgotten,) = json.loads(printed(world, "forget", "r", "--json"))
    assert forgotten == {
        "room": "r",
        "agent": "claude",
        "session_id": U,
        "last_used": "2026-01-02T03:04:05.123456789Z",
        "has_transcript": True,
    }


def test_rooms_are_completed_where_one_is_opened(world: World) -> None:
    store(world, {"refactor": {"planner": entry(U)}})
    asked = {"_CLAUDE_SHIM_COMPLETE": "fish_complete", "COMP_WORDS": "claude-shim open re"}
    assert printed(world, env={**asked, "COMP_CWORD": "re"}) == "plain,refactor\n"
