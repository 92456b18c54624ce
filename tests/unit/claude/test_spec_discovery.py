"""Learning claude's options from its help."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shim.claude import cli_spec, invocation, spec_cache, spec_discovery, spec_lookup
from shim.claude.cli_spec import FLAG, OPTIONAL, VALUE, VARIADIC, CliSpec, built_in

BUILT_IN = built_in()

HELP = """\
Usage: claude [options] [command] [prompt]

Claude Code - starts an interactive session by default

Arguments:
  prompt                                Your prompt

Options:
  --add-dir <directories...>            More directories (e.g.
                                        --add-dir a b)
  --allowedTools, --allowed-tools <tools...>
      Comma or space-separated list
  --autocompact <auto|tokens>           Window size
  --brand-new <value>                   A value option of tomorrow
  -d2e, --debug-to-stderr               Three letters behind a dash
  -n, --name [name]                     Maybe a name
  -p, --print                           Print response and exit
  -r, --resume [value]                  Resume a conversation

Commands:
  brew [options] <pot>                  A subcommand of tomorrow
  mcp                                   Configure servers
  stop|halt <id>                        Two names
"""


@pytest.fixture
def spec() -> CliSpec:
    lines = spec_discovery.read_help(HELP)
    assert lines is not None
    return CliSpec(lines + cli_spec.hidden()[1:])


@pytest.mark.parametrize(
    ("spelling", "name", "takes"),
    [
        ("--add-dir", "--add-dir", VARIADIC),
        ("--allowedTools", "--allowed-tools", VARIADIC),
        ("--allowed-tools", "--allowed-tools", VARIADIC),
        ("--autocompact", "--autocompact", VALUE),
        ("--brand-new", "--brand-new", VALUE),
        ("-d2e", "--debug-to-stderr", FLAG),
        ("-n", "--name", OPTIONAL),
        ("-p", "--print", FLAG),
        ("--resume", "--resume", OPTIONAL),
        ("--max-turns", "--max-turns", VALUE),  # hidden
    ],
)
def test_an_option_is_learned(spec: CliSpec, spelling: str, name: str, takes: str) -> None:
    assert spec.option(spelling) == (name, takes)


def test_subcommands_are_learned_and_those_that_are_gone_are_not_kept(spec: CliSpec) -> None:
    words = ("brew", "mcp", "stop", "halt", "ultrareview", "prompt", "Comma")
    known = [word for word in words if spec.is_subcommand(word)]
    assert known == ["brew", "mcp", "stop", "halt"]


def test_what_is_new_is_handled_with_no_change_of_ours(spec: CliSpec) -> None:
    assert invocation.read(["brew", "tea"], spec).subcommand == "brew"
    asked = invocation.read(["--brand-new", "--resume", "hi"], spec)
    assert (asked.left_alone, asked.operands) == (None, ["hi"])


@pytest.mark.parametrize("text", ["", "no help", "Options:\n  -x\n", HELP.replace("--resume", "-")])
def test_another_programs_help_is_not_taken_for_claudes(text: str) -> None:
    assert spec_discovery.read_help(text) is None


def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_a_claude_is_asked_once_until_it_is_replaced(tmp_path: Path) -> None:
    help_text = tmp_path / "help"
    help_text.write_text(HELP)
    asks = f"echo asked >>{tmp_path}/log; cat {help_text}"
    claude = program(tmp_path / "claude", asks)
    store = str(tmp_path / "store")

    for _ in range(2):
        assert spec_lookup.cli_spec_of(claude, store).is_subcommand("brew")
    help_text.write_text(HELP.replace("brew", "roast"))
    assert not spec_lookup.cli_spec_of(claude, store).is_subcommand("roast")
    program(tmp_path / "next", asks + " # a newer one")
    (tmp_path / "next").replace(claude)
    assert spec_lookup.cli_spec_of(claude, store).is_subcommand("roast")

    assert (tmp_path / "log").read_text().count("asked") == 2
    kept = list((tmp_path / "store" / "surfaces").iterdir())
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_a_link_that_moves_to_another_claude_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "help").write_text(HELP)
    (tmp_path / "help2").write_text(HELP.replace("brew", "roast"))
    program(tmp_path / "one", f"cat {tmp_path}/help")
    program(tmp_path / "two", f"cat {tmp_path}/help2")
    link = tmp_path / "claude"
    link.symlink_to("one")
    assert spec_lookup.cli_spec_of(str(link), str(tmp_path)).is_subcommand("brew")
    link.unlink()
    link.symlink_to("two")
    assert spec_lookup.cli_spec_of(str(link), str(tmp_path)).is_subcommand("roast")


@pytest.fixture
def behind(tmp_path: Path) -> Path:
    """A claude that is updated in its place, where a script in front of it leads."""
    directory = tmp_path / "home" / "behind"
    directory.mkdir(parents=True)
    return update(directory / "claude", HELP)


def update(claude: Path, text: str) -> Path:
    new = claude.with_name("new")
    program(new, f"cat <<'end'\n{text}end")
    new.replace(claude)
    return claude


@pytest.mark.parametrize(
    "script",
    [
        'exec "{behind}" "$@"',
        'exec $HOME/behind/claude "$@"',
        'basedir=$(dirname "$0")\n"$basedir/../home/behind/claude" "$@"',
        "exec {link} --help",
        "exec {second} --help",
    ],
)
def test_an_update_behind_a_script_is_noticed(
    tmp_path: Path, behind: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "link").symlink_to(behind)
    second = program(tmp_path / "second", f"exec {behind}")
    (tmp_path / "bin").mkdir()
    text = script.format(behind=behind, link=tmp_path / "link", second=second)
    # What learning runs it with has another home.
    claude = program(tmp_path / "bin" / "claude", f"HOME={tmp_path}/home\n{text}")
    store = str(tmp_path / "store")
    assert spec_lookup.cli_spec_of(claude, store).is_subcommand("brew")
    assert spec_lookup.known(claude, store)
    update(behind, HELP.replace("brew", "roast"))
    assert spec_lookup.known(claude, store) is None
    assert spec_lookup.cli_spec_of(claude, store).is_subcommand("roast")
    assert spec_lookup.known(claude, store)


def test_what_a_script_writes_to_is_not_taken_for_what_it_runs(
    tmp_path: Path, behind: Path
) -> None:
    (tmp_path / "log").touch()
    claude = program(tmp_path / "claude", f"echo called >>{tmp_path}/log; exec {behind}")
    for _ in range(2):
        assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).is_subcommand("brew")
    assert (tmp_path / "log").read_text() == "called\n"


def test_a_program_costs_one_look_and_what_a_script_leads_to_one_more(
    tmp_path: Path, behind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(tmp_path / "store")
    script = program(tmp_path / "script", f"exec {behind}")
    native = tmp_path / "native"
    shutil.copy("/bin/true", native)
    assert spec_lookup.cli_spec_of(script, store).is_discovered
    kept = Path(spec_cache.path(script, store)).read_text().partition("\n")
    Path(spec_cache.path(str(native), store)).write_text("".join(kept[1:]))
    seen: list[str] = []
    look = spec_cache.identity
    monkeypatch.setattr(spec_cache, "identity", lambda path: (seen.append(path), look(path))[1])
    assert spec_lookup.cli_spec_of(str(native), store).is_discovered
    assert seen == [str(native)]
    seen.clear()
    assert spec_lookup.cli_spec_of(script, store).is_discovered
    assert seen == [script, str(behind)]


def test_housekeeping_asks_again_what_nothing_shows_to_have_changed(tmp_path: Path) -> None:
    (tmp_path / "help").write_text(HELP)
    claude = program(tmp_path / "claude", f"cat {tmp_path}/help")
    gone = program(tmp_path / "gone", f"cat {tmp_path}/help")
    store = str(tmp_path / "store")
    assert spec_lookup.cli_spec_of(claude, store).is_subcommand("brew")
    assert spec_lookup.cli_spec_of(gone, store).is_subcommand("brew")
    (tmp_path / "gone").unlink()

    (tmp_path / "help").write_text("out of order for today")
    spec_discovery.ask_again(store)
    assert spec_lookup.cli_spec_of(claude, store).is_subcommand("brew")

    (tmp_path / "help").write_text(HELP.replace("brew", "roast"))
    spec_discovery.ask_again(store)
    assert spec_lookup.cli_spec_of(claude, store).is_subcommand("roast")


@pytest.mark.parametrize("text", ["exit 3", "echo nothing of use", "kill -9 $$"])
def test_where_nothing_can_be_learned_the_built_in_table_serves_and_nobody_asks_again(
    tmp_path: Path, text: str
) -> None:
    claude = program(tmp_path / "claude", f"echo asked >>{tmp_path}/log; {text}")
    for _ in range(2):
        assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).text == BUILT_IN.text
    assert (tmp_path / "log").read_text() == "asked\n"


def test_a_claude_that_never_ends_its_help_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spec_discovery, "_TIMEOUT", 0.2)
    claude = program(tmp_path / "claude", f"echo $$ >{tmp_path}/pid; exec sleep 60")
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).text == BUILT_IN.text
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_claude_whose_help_never_stops_is_ended(tmp_path: Path) -> None:
    claude = program(tmp_path / "claude", "exec yes")
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).text == BUILT_IN.text


def test_a_child_that_claude_leaves_behind_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "help").write_text(HELP)
    leaves = f"sleep 300 & echo $! >{tmp_path}/child; cat {tmp_path}/help"
    claude = program(tmp_path / "claude", leaves)
    spec = spec_lookup.cli_spec_of(claude, str(tmp_path / "store"))
    os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)
    assert spec.is_subcommand("brew")


def test_without_a_place_to_keep_it_the_built_in_table_serves(tmp_path: Path) -> None:
    (tmp_path / "store").touch()
    claude = program(tmp_path / "claude", f"echo '{HELP}'")
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).text == BUILT_IN.text


@pytest.mark.parametrize(
    "shim",
    [
        'exec "$HOME/.local/share/mise/installs/claude" "$@"',
        'exec "$ASDF_DATA_DIR/installs/claude" "$@"',
        'read -r version <.tool-versions; exec "$MISE_DATA_DIR/$version/claude" "$@"',
    ],
    ids=["by HOME", "by a variable", "by the working directory"],
)
def test_a_version_managers_shim_is_asked_as_the_caller_would_run_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shim: str
) -> None:
    installs = tmp_path / "home" / ".local" / "share" / "mise" / "installs"
    installs.mkdir(parents=True)
    program(installs / "claude", f"cat <<'end'\n{HELP}end")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ASDF_DATA_DIR", str(installs.parent))
    monkeypatch.setenv("MISE_DATA_DIR", str(installs.parent))
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".tool-versions").write_text("installs\n")
    claude = program(tmp_path / "claude", shim)
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).is_subcommand("brew")


def test_it_is_asked_with_a_config_directory_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", "/users/claude")
    claude = program(tmp_path / "claude", f"env >{tmp_path}/env; pwd >>{tmp_path}/env")
    spec_lookup.cli_spec_of(claude, str(tmp_path / "store"))
    environ = (tmp_path / "env").read_text()
    assert "/users/claude" not in environ
    used = next(line for line in environ.splitlines() if line.startswith("CLAUDE_CONFIG_DIR="))
    assert not Path(used.removeprefix("CLAUDE_CONFIG_DIR=")).exists()


def test_why_it_could_not_be_asked_is_recorded(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    says = "echo 'no version is set for claude' >&2; exit 126"
    claude = program(tmp_path / "claude", says)
    spec_lookup.cli_spec_of(claude, store)
    reason = "it exits with 126: no version is set for claude"
    assert spec_lookup.failure(claude, store) == reason


def test_a_claude_named_from_the_working_directory_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "claude", f"cat <<'end'\n{HELP}end")
    monkeypatch.chdir(tmp_path)
    assert spec_lookup.cli_spec_of("./claude", str(tmp_path / "store")).is_subcommand("brew")


def test_what_claude_leaves_in_that_home_costs_nothing_of_what_was_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **how: object) -> None:
        if not how.get("ignore_errors") and not how.get("onerror") and not how.get("onexc"):
            raise OSError

    monkeypatch.setattr(shutil, "rmtree", refuse)
    claude = program(tmp_path / "claude", f"cat <<'end'\n{HELP}end")
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).is_subcommand("brew")


def test_many_at_once_ask_once(tmp_path: Path) -> None:
    (tmp_path / "help").write_text(HELP)
    claude = program(tmp_path / "claude", f"echo asked >>{tmp_path}/log; cat {tmp_path}/help")
    program_text = (
        "import sys; from shim.claude import spec_lookup;"
        " sys.exit(not spec_lookup.cli_spec_of(*sys.argv[1:]).is_subcommand('brew'))"
    )
    command = [sys.executable, "-c", program_text, claude, str(tmp_path / "store")]
    running = [subprocess.Popen(command) for _ in range(6)]
    assert [process.wait(30) for process in running] == [0] * 6
    assert (tmp_path / "log").read_text() == "asked\n"


def test_only_the_newest_surfaces_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec_discovery, "_MOST_CACHED", 3)
    claude = program(tmp_path / "claude", "exit 1")
    for number in range(5):
        os.utime(claude, ns=(number, number))
        spec_lookup.cli_spec_of(claude, str(tmp_path / "store"))
        written = time.time() - 100 + number
        for path in (tmp_path / "store" / "surfaces").glob(f"*-{number}.failed"):
            os.utime(path, (written, written))
    names = sorted(path.stem[-2:] for path in (tmp_path / "store" / "surfaces").iterdir())
    assert names == ["-2", "-3", "-4"]


def test_a_claude_that_could_not_be_asked_is_asked_again_a_day_later(tmp_path: Path) -> None:
    (tmp_path / "help").touch()
    claude = program(tmp_path / "claude", f"cat {tmp_path}/help")
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).text == BUILT_IN.text
    (tmp_path / "help").write_text(HELP)
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).text == BUILT_IN.text
    (failed,) = (tmp_path / "store" / "surfaces").iterdir()
    os.utime(failed, (0, 0))
    assert spec_lookup.cli_spec_of(claude, str(tmp_path / "store")).is_subcommand("brew")
