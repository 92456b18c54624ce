"""The steadiest name of an interpreter."""

import sys
from pathlib import Path

import pytest

from shim.install import python
from shim.install.manifest import import_paths


def program(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(sys.executable)
    return str(path)


def test_the_name_without_a_version_goes_first(tmp_path: Path) -> None:
    versioned, plain = program(tmp_path / "python3.11"), program(tmp_path / "python3")
    assert python.names(versioned) == [plain, versioned]


def test_another_interpreter_of_that_name_is_none_of_its_names(tmp_path: Path) -> None:
    versioned = program(tmp_path / "python3.11")
    (tmp_path / "python3").symlink_to("/bin/sh")
    assert python.names(versioned) == [versioned]


def test_homebrews_link_goes_before_its_cellar(tmp_path: Path) -> None:
    cellar = program(tmp_path / "Cellar/python@3.12/3.12.4/bin/python3.12")
    (tmp_path / "opt").mkdir()
    (tmp_path / "opt/python@3.12").symlink_to("../Cellar/python@3.12/3.12.4")
    linked = str(tmp_path / "opt/python@3.12/bin/python3.12")
    assert python.names(cellar) == [linked, cellar]
    assert python.steadier(cellar) == linked
    assert python.steadier(linked) is None


def test_an_environments_goes_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environments = program(tmp_path / "venv/bin/python")
    (tmp_path / "venv/pyvenv.cfg").touch()
    monkeypatch.setattr(python.shutil, "which", lambda *_, **__: "/usr/bin/python3")
    assert python.steadier(environments) == "/usr/bin/python3"


def test_what_it_cannot_start_without_is_there() -> None:
    needed = python.needs(sys.executable, import_paths())
    assert needed
    assert all(Path(path).is_file() for path in needed)
    assert needed[0].endswith("/encodings/__init__.py")


@pytest.mark.parametrize("other", ["/bin/false", "/nowhere/python3", "/tmp"])
def test_what_cannot_run_the_wrapper_is_none(other: str) -> None:
    assert python.needs(other, import_paths()) is None
