"""What stands beside the launcher, written and read."""

import sys
from pathlib import Path

import pytest

from shim.install import manifest


@pytest.mark.parametrize("name", ["plain", "a place/it's", "long" * 50, "é", "\udcff"])
def test_what_is_written_says_who_made_it(tmp_path: Path, name: str) -> None:
    python = tmp_path / name / "python"
    python.parent.mkdir(parents=True)
    python.symlink_to(sys.executable)
    program = tmp_path / "program.py"
    program.write_text(manifest.program_text(tmp_path / "plugin", tmp_path / "modules"))
    installation = tmp_path / "installation"
    text = manifest.text(str(python), program)
    installation.write_text(text, errors="surrogateescape")

    assert manifest.maker(installation) == manifest.Maker(str(python), manifest.import_paths()[0])
    assert all(line.is_unchanged for line in manifest.lines(installation))
    assert [line.key for line in manifest.lines(installation)][:3] == ["python", "program", "file"]


def test_a_file_that_changed_is_reported(tmp_path: Path) -> None:
    installation = tmp_path / "installation"
    gone = tmp_path / "gone"
    installation.write_text(f"claude-shim 1\npython 1 2 /bin/sh\nprogram 3 4 {gone}\n")
    assert manifest.lines(installation) == [
        manifest.Line("python", "/bin/sh", False),
        manifest.Line("program", str(gone), False),
    ]


def test_what_is_no_such_file_says_nothing(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("#!/bin/sh\n# claude-shim launcher\n")
    assert manifest.lines(other) == []
    assert manifest.maker(other) is None
