"""`claude-shim opencode`: the file that it writes, renews and removes, and no other."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from shim.commands.claude_shim import group
from shim.opencode import plugin

SOURCE = Path(plugin.__file__).parent / "claude-shim.js"
FOREIGN = "export const Mine = async () => ({})\n"
NAME = "plugin/claude-shim.js"

Run = Callable[..., Result]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's home, with a project in it to be in."""
    home = tmp_path.resolve() / "home"
    project = home / "project"
    project.mkdir(parents=True)
    monkeypatch.chdir(project)
    for name in ("XDG_CONFIG_HOME", "OPENCODE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture
def run(home: Path) -> Run:
    def run(*args: str, **env: str) -> Result:
        return CliRunner(env={"HOME": str(home), **env}).invoke(group, ["opencode", *args])

    return run


@pytest.fixture
def path(home: Path) -> Path:
    """Where the plugin belongs if nothing else is said."""
    return home / ".config" / "opencode" / NAME


def state(run: Run, *args: str) -> str:
    return str(json.loads(run("status", "--json", *args).stdout)["state"])


# Where


def test_it_is_among_the_plugins_of_the_users_configuration(run: Run, home: Path) -> None:
    for env, directory in [
        ({}, ".config/opencode"),
        ({"XDG_CONFIG_HOME": ""}, ".config/opencode"),
        ({"XDG_CONFIG_HOME": str(home / "xdg")}, "xdg/opencode"),
        ({"XDG_CONFIG_HOME": str(home / "xdg"), "OPENCODE_CONFIG_DIR": str(home / "own")}, "own"),
    ]:
        assert str(home / directory / NAME) in run("status", **env).stdout


def test_for_a_project_it_is_in_this_directory(run: Run, home: Path, path: Path) -> None:
    run("install", "--project")

    assert (home / "project" / ".opencode" / NAME).read_bytes() == SOURCE.read_bytes()
    assert not path.exists()


# Installing


def test_install_writes_it_once_and_says_so(run: Run, path: Path) -> None:
    first, second = run("install"), run("install")

    assert path.read_bytes() == SOURCE.read_bytes()
    assert first.stdout.startswith(f"Wrote {path}\n")
    assert second.stdout == f"{path} is there and current: nothing to do.\n"
    assert list(path.parent.iterdir()) == [path]


def test_install_renews_one_of_another_version(run: Run, path: Path) -> None:
    run("install")
    path.write_text("// claude-shim plugin: of yore\n")

    assert run("install").stdout.startswith(f"Renewed {path}\n")
    assert path.read_bytes() == SOURCE.read_bytes()


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_file_of_somebody_else_is_left_as_it_is(run: Run, path: Path, command: str) -> None:
    path.parent.mkdir(parents=True)
    path.write_text(FOREIGN)

    refused = run(command)

    assert refused.exit_code == 1
    assert f"{path} is not ours: move it away" in refused.stderr
    assert path.read_text() == FOREIGN


def test_install_writes_through_no_file_that_is_there(run: Run, home: Path, path: Path) -> None:
    path.parent.mkdir(parents=True)
    mine = home / "mine"
    mine.write_text(FOREIGN)
    path.with_name(f"{path.name}.new").symlink_to(mine)

    run("install")

    assert path.read_bytes() == SOURCE.read_bytes()
    assert mine.read_text() == FOREIGN


def test_a_write_that_fails_leaves_nothing_behind(
    run: Run, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "replace", fail)

    assert "cannot be written: No space left on device" in run("install").stderr
    assert list(path.parent.iterdir()) == []


def test_behind_a_link_the_file_is_renewed_and_the_link_is_what_is_removed(
    run: Run, home: Path, path: Path
) -> None:
    path.parent.mkdir(parents=True)
    dotfile = home / "dotfiles.js"
    dotfile.write_text("// claude-shim plugin: of yore\n")
    path.symlink_to(dotfile)

    assert run("install").stdout.startswith(f"Renewed {path}\n")
    assert path.is_symlink()
    assert dotfile.read_bytes() == SOURCE.read_bytes()
    run("uninstall")
    assert (dotfile.exists(), path.is_symlink()) == (True, False)


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_a_link_to_nowhere_is_left_as_it_is(run: Run, path: Path, command: str) -> None:
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")

    assert run(command).exit_code == 1
    assert path.is_symlink()


def test_a_folder_that_cannot_be_made_is_one_clear_line(run: Run, home: Path) -> None:
    (home / ".config").write_text("")

    refused = run("install")

    assert refused.exit_code == 1
    assert "cannot be written: Not a directory" in refused.stderr


# Removing


def test_uninstall_removes_it_and_nothing_else(run: Run, path: Path) -> None:
    run("install")
    other = path.with_name("other.js")
    other.write_text(FOREIGN)

    assert run("uninstall").stdout.startswith(f"Removed {path}\n")
    assert list(path.parent.iterdir()) == [other]
    assert run("uninstall").stdout == f"There is no {path}: nothing to do.\n"


# Looking


def test_status_says_what_is_there_and_what_to_do(run: Run, path: Path) -> None:
    assert "missing: `claude-shim opencode install` writes it" in run("status").stdout
    assert run("status").exit_code == run("status", "--json").exit_code == 1
    run("install")
    assert "current" in run("status").stdout
    assert run("status").exit_code == 0
    path.write_text(SOURCE.read_text() + "\n")
    assert "outdated: `claude-shim opencode install` renews it" in run("status").stdout
    path.write_text(FOREIGN)
    assert "not ours" in run("status").stdout
    assert "`claude-shim opencode install --project`" in run("status", "--project").stdout


def test_status_tells_programs_the_path_and_the_state(run: Run, path: Path) -> None:
    assert json.loads(run("status", "--json").stdout) == {"path": str(path), "state": "missing"}
    run("install")
    assert state(run) == "current"
    path.write_text("// claude-shim plugin\n")
    assert state(run) == "outdated"
    path.write_text(FOREIGN)
    assert state(run) == "foreign"
    assert state(run, "--project") == "missing"


def test_alone_it_shows_its_help(run: Run) -> None:
    assert "claude-shim opencode install --project" in run().stdout
