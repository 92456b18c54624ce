"""The commands that fit the installation: by pipx, uv or pip."""

import sys
from pathlib import Path

import pytest

from shim.base import package_installer


def environment(root: Path, monkeypatch: pytest.MonkeyPatch, has_pip: bool = False) -> Path:
    """An environment with a Python of its own that everything is imported from."""
    packages = root / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(sys.executable)
    if has_pip:
        (packages / "pip").mkdir()
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3.11", str(packages)])
    return root


def test_pipx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(tmp_path / "pipx" / "venvs" / "claude-shim", monkeypatch)
    assert package_installer.add("x") == "pipx inject claude-shim x"
    assert package_installer.remove("x") == "pipx runpip claude-shim uninstall -y x"
    assert package_installer.reinstall() == "pipx reinstall claude-shim"
    assert package_installer.reinstall("/p") == "pipx reinstall --python /p claude-shim"


def test_uv_tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = environment(tmp_path / "uv" / "tools" / "claude-shim", monkeypatch)
    python = f"{root}/bin/python"
    assert package_installer.add("x") == f"uv pip install --python {python} x"
    assert package_installer.remove("x") == f"uv pip uninstall --python {python} x"
    assert package_installer.reinstall("/p") == (
        "uv tool install --reinstall --python /p claude-shim"
    )


def test_an_environment_of_uv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = f"{environment(tmp_path / '.venv', monkeypatch)}/bin/python"
    again = f"uv pip install --python {python} --reinstall claude-shim"
    assert (package_installer.reinstall(), package_installer.reinstall("/p")) == (again, None)


def test_an_environment_with_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = environment(tmp_path / "a place", monkeypatch, has_pip=True)
    python = f"'{root}/bin/python'"
    assert package_installer.remove("x") == f"{python} -m pip uninstall -y x"
    assert package_installer.reinstall() == f"{python} -m pip install --force-reinstall claude-shim"
