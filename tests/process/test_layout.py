"""The layers of help developing, "The layout": import-linter holds them, and finds each breach."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shim

CHECKOUT = Path(shim.__file__).parent.parent
AT_THE_TOP = "\nimport {}\n"
LAZILY = "\n\ndef load() -> None:\n    import {}\n"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The sources, to be broken."""
    shutil.copytree(CHECKOUT / "shim", tmp_path / "shim")
    shutil.copy(CHECKOUT / "pyproject.toml", tmp_path)
    return tmp_path


def lint(copy: Path) -> tuple[int, str]:
    """The exit code of lint-imports, and what it printed."""
    program = Path(sys.executable).with_name("lint-imports")
    environ = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [program, "--no-cache"], cwd=copy, env=environ, capture_output=True, text=True
    )
    return done.returncode, done.stdout


def add(copy: Path, module: str, imported: str, how: str) -> None:
    with (copy / f"{module.replace('.', '/')}.py").open("a") as file:
        file.write(how.format(imported))


def test_the_layout_holds(copy: Path) -> None:
    exit_code, output = lint(copy)

    assert (exit_code, "0 broken" in output) == (0, True), output
    assert "ignore_imports" not in (copy / "pyproject.toml").read_text()


@pytest.mark.parametrize("how", [AT_THE_TOP, LAZILY], ids=["at the top", "lazily"])
def test_a_circle_of_two_modules_in_a_folder_is_found(copy: Path, how: str) -> None:
    add(copy, "shim.base.times", "shim.base.circle", how)
    add(copy, "shim.base.circle", "shim.base.times", how)

    exit_code, output = lint(copy)

    assert exit_code != 0
    assert "No two modules import each other BROKEN" in output


@pytest.mark.parametrize("how", [AT_THE_TOP, LAZILY], ids=["at the top", "lazily"])
@pytest.mark.parametrize(
    ("module", "imported"),
    [
        ("shim.base.times", "shim.claude.transcripts"),
        ("shim.retention.pins", "shim.locks.live_claudes"),
        ("shim.checks.finding", "shim.cli.tables"),
        ("shim.call.plan", "shim.commands.list"),
    ],
)
def test_an_arrow_against_the_picture_is_found(
    copy: Path, module: str, imported: str, how: str
) -> None:
    add(copy, module, imported, how)

    exit_code, output = lint(copy)

    assert exit_code != 0
    assert "Folders depend one way BROKEN" in output
    assert f"{module} -> {imported}" in output


def test_a_folder_that_is_not_in_the_picture_is_found(copy: Path) -> None:
    (copy / "shim" / "misc").mkdir()
    (copy / "shim" / "misc" / "__init__.py").touch()

    exit_code, _ = lint(copy)

    assert exit_code != 0
